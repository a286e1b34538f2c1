"""Layer: a module with parameters of its own that it knows how to draw."""

from ..graph.parameter import is_unallocated
from ..seeds import next_seed
from .module import Module


class Layer(Module):
    """Base of the layers that own parameters; keeps track of whether anybody has written them since they were drawn."""

    _drawn = ()

    _own_seed = 0

    def _begin(self, seed):
        """Draw the parameters for the first time; with a seed of its own the layer keeps these weights for good."""
        object.__setattr__(self, "_own_seed", next_seed() if seed is None else seed)
        self._draw(self._own_seed, "")
        if seed is not None:
            self._keep_weights()

    def _draw(self, seed, path):
        if is_unallocated():  # values will be loaded
            return
        self._draw_parameters(seed, path)
        self._mark_drawn()

    def _mark_drawn(self):
        object.__setattr__(self, "_drawn", self._versions())

    def _versions(self):
        return tuple((id(tensor), tensor.version) for _, tensor in self._own_named_tensors())

    def _is_untouched(self):
        return self._drawn == self._versions()

    def _keep_weights(self):
        object.__setattr__(self, "_drawn", ())

    def _draw_parameters(self, seed, path):
        raise NotImplementedError
