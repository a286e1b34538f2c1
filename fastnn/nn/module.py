"""Module: parameters plus a `forward` that runs once, on symbolic tensors.

What `forward` records is the only definition of the model (decision 14): calling the module with arrays runs a
Program that was planned from it. Nothing here holds state that a user could forget to switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from .._native import Guard
from ..graph import context
from ..graph.parameter import Parameter, as_array
from ..graph.watch import Watched
from ..seeds import next_seed
from .hooks import trace_state
from .lists import cells, is_owned, members, own
from .registry import Given, register
from .state import LoadReport

if TYPE_CHECKING:
    from typing_extensions import Self


def is_symbolic(value: Any) -> Any:
    """True for the tensors that a trace hands to `forward`."""
    return getattr(value, "_fastnn_symbolic_", False)


def _located(error, path, module):
    """The error, told with the place and the layer where it came up first."""
    if getattr(error, "_fastnn_located", False) or len(error.args) != 1:
        return error
    text = str(error.args[0]).removeprefix(f"{path}: ")
    located = type(error)(f"layer '{path}', {module._describe()}: {text}" if path else f"{module._describe()}: {text}")
    located._fastnn_located = located.fastnn_explained = True
    return located


def _no_forward(self: Module, *inputs: Any) -> Any:
    raise NotImplementedError(f"{type(self).__name__} defines no forward(self, x)")


class Module(Watched):
    """Base class of layers and models: define ``__init__`` and ``forward``.

    Parameters and modules that are assigned to attributes belong to the module, and so do lists, tuples and dicts of
    them, nested at will; every other attribute is plain configuration: arrays are kept as read-only copies, and lists,
    dicts and sets of other values cannot be read by ``forward`` (tuples can). ``forward`` is ordinary Python over
    ``fastnn.functional`` and other modules. It runs once per mode and dtype, on symbolic tensors: branch on Python
    values, not on the values of tensors.

    * ``model(x)`` runs inference on arrays of any number of rows; ``model.predict(x, out=None)`` is the same.
    * ``model(x, training=True)`` is the Monte-Carlo path: dropout is live (a new mask per call) and batch norm uses
      the statistics of the batch, but nothing is learned and no running statistics change.
    * ``self.training`` exists only inside ``forward``.
    * Several inputs: ``model(x1, x2)``, ``model((x1, x2))``; ``model({"a": x1, "b": x2})`` for ``forward(self, a, b)``.
    * ``layer.weight = array`` writes the values of a parameter.
    * Changing an attribute, a sub-module or ``requires_grad`` is seen by the next call.

    Examples
    --------
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         self.hidden = nn.Linear(4, 16)
    ...         self.out = nn.Linear(16, 2)
    ...     def forward(self, x):
    ...         return self.out(F.relu(self.hidden(x)))
    """

    _compiled = None
    _forward = None  # of the latest prediction: a call on plain arrays tries it first
    _mc_calls = 0

    # ---- registration ------------------------------------------------------------------------------------------

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        register(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__["_given"] = Given(args, kwargs)
        return self

    def __setattr__(self, name, value):
        old = self.__dict__.get(name)
        if isinstance(old, Parameter) and value is not None and not is_owned(value):
            old.assign(self._values_for(name, value))  # new values, the same parameter
            return
        value = own(value)
        if not is_owned(value):
            super().__setattr__(name, value)
            return
        for path, item in members(value, name):
            if isinstance(item, Parameter) and not item.name:
                item.name = path
        if self._apart is not None:
            self._apart.pop(name, None)
        object.__setattr__(self, name, value)
        self._touch()

    def _values_for(self, name, value):
        try:
            return as_array(value)
        except (TypeError, ValueError):
            wrong, owner = type(value).__name__, type(self).__name__
            raise TypeError(
                f"{owner}.{name} is a parameter: assign an array of its shape, a Parameter or None, not {wrong}"
            ) from None

    def _sources(self):
        found = {}
        for _, module in self.named_modules():
            found[id(module)] = module
            for value in module.__dict__.values():
                for cell in cells(value):
                    found[id(cell)] = cell
        found.update((id(tensor), tensor) for _, tensor in self._all_named_tensors())
        return list(found.values())

    def __deepcopy__(self, memo):
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        with self._guard.reading():  # a copy has the weights of one step
            copied.__setstate__(deepcopy(self.__getstate__(), memo))
        return copied

    def __getstate__(self):
        state = super().__getstate__()
        for name in ("_compiled", "_forward"):
            state.pop(name, None)
        return state

    # ---- walking -----------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) of the direct sub-modules in order of assignment; items: ``list.0``, ``dict.key``."""
        for name, value in self.__dict__.items():
            for path, item in members(value, name):
                if not isinstance(item, Parameter):
                    yield path, item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (path, module) of this module ("" is its path) and of all inside it; a shared one once per place."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> list[Module]:
        """Return the list of distinct modules: this one first, then all inside it."""
        return list({id(module): module for _, module in self.named_modules()}.values())

    def _all_named_tensors(self):
        """(path, Parameter) of every place, buffers and shared ones included, in PyTorch's order."""
        for path, module in self.named_modules():
            dot, own = path + "." if path else "", list(module._own_named_tensors())
            for wanted in (False, True):
                yield from ((dot + name, tensor) for name, tensor in own if tensor.buffer == wanted)

    def children(self) -> list[Module]:
        """Return the list of distinct direct sub-modules."""
        return list({id(child): child for _, child in self.named_children()}.values())

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function(module)`` for all modules inside, then for this one. Returns self."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or thaw all parameters. Returns self."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def _own_named_tensors(self):
        """(name, Parameter) of those that belong to this module directly, in its lists and dicts too."""
        for name, value in self.__dict__.items():
            yield from ((place, item) for place, item in members(value, name) if isinstance(item, Parameter))

    def _named_tensors(self, buffers):
        seen = set()
        for path, tensor in self._all_named_tensors():
            if tensor.buffer == buffers and id(tensor) not in seen:
                seen.add(id(tensor))
                yield path, tensor

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, Parameter), PyTorch's names; a shared parameter appears once, under its first name."""
        return self._named_tensors(False)

    def named_buffers(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, Parameter) of the buffers: batch norm's running statistics."""
        return self._named_tensors(True)

    def parameters(self) -> list[Parameter]:
        """Return the list of distinct parameters (no buffers)."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The model's one floating dtype (decision 7): that of its first parameter, float32 without parameters."""
        for _, tensor in self._all_named_tensors():
            return np.dtype(tensor.dtype)
        return np.dtype(np.float32)

    # ---- tracing -----------------------------------------------------------------------------------------------

    @property
    def training(self) -> bool:
        """True while the training mode is traced, False while inference is. Exists only inside ``forward``."""
        if not context.is_tracing():
            raise RuntimeError(
                "self.training exists only while forward is traced; models have no train()/eval() state: "
                "model(x) infers, model(x, training=True) is the Monte-Carlo path, Trainer trains"
            )
        return bool(context.current().training)

    forward: Callable[..., Any] = _no_forward  # any arguments: what a subclass defines

    def _forward_traced(self, inputs):
        """forward on symbolic tensors; nodes and errors get the module's path in the model that is traced."""
        graph = context.current()
        outer = getattr(trace_state, "graph", None), getattr(trace_state, "paths", None)
        if outer[0] is not graph:  # the whole model: its sub-modules are known by their paths from here
            graph.watch.tree(self)
            trace_state.graph = graph
            trace_state.paths = {id(module): path for path, module in self.named_modules()}
        elif id(self) not in trace_state.paths:
            self._check_hidden(graph)
        path, scope = trace_state.paths.get(id(self), ""), graph.scope
        inner = path[len(scope) + 1 :] if scope and path.startswith(scope + ".") else path
        hook = getattr(trace_state, "hook", None)
        try:
            if not inner or inner == scope:
                y = self.forward(*inputs)
            else:
                with graph.module(inner):
                    y = self.forward(*inputs)
            return y if hook is None else hook(self, path, inputs, y)
        except (ValueError, TypeError) as error:
            raise _located(error, path, self) from error.__cause__
        finally:
            trace_state.graph, trace_state.paths = outer

    def _check_hidden(self, graph):
        """A forward calls a module that its model does not own."""
        if next(self._all_named_tensors(), None) is not None:
            raise ValueError(
                f"{self._describe()} has weights that the model does not own, so that they would be trained but not "
                "saved: assign it, or a list or dict of modules only, to an attribute"
            )
        graph.watch.tree(self)

    def _describe(self):
        return repr(self) if not any(True for _ in self.named_children()) else type(self).__name__

    # ---- running -----------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Any, training: bool = False, out: Any = None) -> Any:
        forward = self._forward
        if forward is not None and len(inputs) == 1 and not training:
            y = forward.run(inputs[0], out)
            if y is not None:
                return y
        first = inputs[0] if inputs else None
        if is_symbolic(first) or (inputs and any(is_symbolic(x) for x in inputs)):
            return self._forward_traced(inputs)
        if not inputs:
            raise TypeError(f"{type(self).__name__}() needs at least one input")
        from .predict import run_model

        return run_model(self, first if len(inputs) == 1 else inputs, training, out)

    def predict(self, x: Any, *, out: Any = None) -> Any:
        """Return the model's output for the rows of x: for a classifier the logits, as `forward` ends.

        Parameters
        ----------
        x : array of shape (rows, ...), or a tuple or dict of such arrays
            Any number of rows, also 0. Floats, integers and bools are converted to the model's dtype row by row.
        out : array, optional
            C-contiguous array of the output's shape and the model's dtype; is filled and returned.

        Raises
        ------
        ValueError
            If shapes do not fit; the message names the layer.
        RuntimeError
            If another thread is training this model now.
        """
        forward = self._forward
        if forward is not None:
            y = forward.run(x, out)
            if y is not None:
                return y
        from .predict import run_model

        return run_model(self, x, False, out)

    @property
    def _guard(self):
        """Of all arrays of the model as it is now."""
        return Guard(tuple({id(tensor): tensor for _, tensor in self._all_named_tensors()}.values()))

    # ---- weights -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return {name: contiguous copy}, PyTorch's names and shapes; a shared parameter is there once.

        Raises
        ------
        RuntimeError
            If another thread is training the model now: its arrays would be of different steps.
        """
        seen, result = set(), {}
        with self._guard.reading():
            for path, tensor in self._all_named_tensors():
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    result[path] = np.array(tensor.numpy(), order="C")
        return result

    def load_state_dict(self, state: Any, strict: bool = True) -> LoadReport:
        """Write the arrays of `state` into the parameters and buffers.

        Parameters
        ----------
        state : dict of str to array (or PyTorch tensor on the CPU)
            PyTorch's ``num_batches_tracked`` entries are ignored.
        strict : bool, default True
            Every name must be there and known. False writes what fits by name.

        Returns
        -------
        LoadReport
            ``missing_keys`` and ``unexpected_keys``, as PyTorch has them; both empty if `strict`.

        Raises
        ------
        ValueError
            Missing or unknown names (strict), or a shape differs. Everything is checked before the first write.
        """
        from .state import load_state

        return load_state(self, state, strict)

    def reset_parameters(self, seed: int | None = None) -> Self:
        """Draw all initial weights again: each from a stream keyed by (seed, its name). Returns self.

        Parameters
        ----------
        seed : int, optional
            Default: another one at every call, see ``fastnn.manual_seed``.
        """
        seed = next_seed() if seed is None else seed
        with self._guard.writing():
            for path, module in self.named_modules():
                module._draw(seed, path)
        return self

    def _draw(self, seed, path):
        """Layers with parameters of their own override this: fill them from streams keyed by (seed, path)."""

    def _fit_init(self, following):
        """Tell the layers inside what follows this module, so that their default initialisation fits it.

        `following` is a key of `init.FITTING`, "linear" for nothing or a layer, or None for what is not known; returns
        the same for whatever comes before this module.
        """
        return None

    def _is_untouched(self):
        """Layers with parameters override this: True while nobody has written them since they were drawn."""
        return False

    def _mark_drawn(self):
        """Layers with parameters override this: count as drawn, not as written."""

    def _keep_weights(self):
        """Layers with parameters override this: count as written, so that no later owner draws them again."""

    def to(self, dtype: Any) -> Self:
        """Convert parameters and buffers to "float32" or "float64", in place; sharing is kept. Returns self."""
        from .state import convert

        return convert(self, dtype)

    # ---- text --------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"

    def summary(self, x: Any = None) -> str:
        """Return a table of the layers: name, layer, output and weight shapes, number of parameters (trainable or not).

        Parameters
        ----------
        x : array (rows, ...), or a tuple or dict of arrays, optional
            Inputs, one row is enough, for the shapes of the outputs. Default: what the first layer takes; where no
            layer says so, or the model takes several inputs, the column is left out.
        """
        from .summary import summary

        return summary(self, x)

    def diagram(self, x: Any = None, *, direction: str = "TD") -> Any:
        """Return the model as the text of a Mermaid flowchart: layers as boxes, tensors with their shapes as arrows.

        GitHub, GitLab, Jupyter and https://mermaid.live draw it.

        Parameters
        ----------
        x : array (rows, ...), or a tuple or dict of arrays, optional
            Inputs, one row is enough. Default: what the first layer takes.
        direction : {"TD", "LR"}
            From the top down, or from left to right.
        """
        from .diagram import diagram

        return diagram(self, x, direction)

    def to_config(self) -> dict[str, Any]:
        """Return the architecture as a dict for JSON, without weights; `nn.from_config` builds it again.

        A layer is its class and the options of its constructor: as the attributes of the same names are now, else as
        they were given. Classes of your own are written as well, and found again where their module is imported.

        Raises
        ------
        TypeError
            If a class has options that are no plain values: load the weights with
            ``fastnn.load(path, model=YourClass(...))``.
        """
        from .config import to_config

        return to_config(self)


def draw_untouched(module: Any, seed: int | None, prefix: str) -> None:
    """Give the layers inside `module` that nobody has written yet the weights of their new place: keyed by (seed, name)
    or, without a seed, by their own seeds again (what follows a layer may have changed how it is drawn)."""
    for path, inner in module.named_modules(prefix):
        if inner._is_untouched():
            inner._draw(*((inner._own_seed, "") if seed is None else (seed, path)))
