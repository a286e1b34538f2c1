"""What the units of a model do on a probe set: the input and output of every activation, layer by layer."""

import numpy as np

from .. import _native
from ..graph.build import CompiledModel, _trace
from ..nn.arrays import split_inputs
from ..nn.predict import with_names

# by what happens on the far left and right: zero (dead), a constant (saturated), or a straight line
_BOUNDED = {"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"}
_ZERO_LEFT = {"relu", "hardswish"}
_ACTIVATIONS = {row["name"] for row in _native.list_rows("activations")} - {"identity"} | {"prelu"}

SATURATED = 4.0  # |input| from which sigma' <= 0.0177 and tanh' <= 0.0013
LINEAR_VARIANCE = 2.0  # of the input of a sigmoidal unit, up to which it is nearly linear


class Layer:
    """The units behind one activation, over the rows of a probe set.

    Attributes
    ----------
    path : str
        Of the module that applied it, such as "1".
    activation : str
    units : int
    mean, std : float
        Of the outputs; 0 and about 1 are best (Klambauer et al. 2017).
    input_variance : ndarray (units,)
        Of the activation's input.
    unit_mean : ndarray (units,)
        Of the output.
    dead : ndarray of bool (units,)
        ReLU: no row of the probe set passes, so that no gradient does either.
    linear : ndarray of bool (units,)
        The unit is (nearly) a straight line on the probe set: all rows on one side of 0; for sigmoidal units an input
        variance of at most 2 about a mean within 1 of 0.
    saturated : float
        Share of the inputs with |a| >= 4, for sigmoidal units.
    active : float
        Share of the outputs that are not 0: of the paths that carry a gradient.
    """

    def __init__(self, path, activation, a, h):
        a, h = (value.reshape(len(value), -1).astype(np.float64) for value in (a, h))
        self.path, self.activation, self.units = path, activation, h.shape[1]
        self.mean, self.std = float(h.mean()), float(h.std())
        self.unit_mean, self.input_variance = h.mean(axis=0), a.var(axis=0)
        bounded = activation in _BOUNDED
        none = np.zeros(self.units, bool)
        self.dead = (a <= 0).all(axis=0) if activation in _ZERO_LEFT else none
        if bounded:
            self.linear = (self.input_variance <= LINEAR_VARIANCE) & (np.abs(a.mean(axis=0)) <= 1.0)
        else:
            self.linear = ((a > 0).all(axis=0) | (a < 0).all(axis=0)) & ~self.dead
        self.saturated = float(np.mean(np.abs(a) >= SATURATED)) if bounded else 0.0
        self.active = float(np.mean(h != 0))

    @property
    def dead_share(self):
        """Share of the units that are dead."""
        return float(self.dead.mean())

    @property
    def linear_share(self):
        """Share of the units that are linear."""
        return float(self.linear.mean())


def unit_statistics(model, x, rows=1024):
    """Run the model in inference mode on (the first rows of) x and look at every activation, also those of functions.

    ``nn.probe`` gives the values behind every layer themselves.

    Returns
    -------
    list of Layer
        In the order of the forward pass.
    """
    names, arrays = split_inputs(x)
    arrays = tuple(array[:rows] for array in arrays)
    if len(arrays[0]) == 0:
        raise ValueError("a probe set needs at least one row")
    specs = tuple((array.shape[1:], array.dtype) for array in arrays)
    graph, inputs, _ = _trace(with_names(model, names), specs, model.dtype, False, 0)
    nodes = [node for node in graph.nodes if node.label in _ACTIVATIONS and node.outputs[0].ndim >= 2]
    if not nodes:
        return []
    wanted = [tensor for node in nodes for tensor in (node.inputs[0], node.outputs[0])]
    values = CompiledModel(graph, inputs, wanted).run(arrays)
    places = enumerate(nodes)
    return [Layer(node.scope, node.label, values[2 * i], values[2 * i + 1]) for i, node in places]
