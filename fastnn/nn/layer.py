"""Layer: a module with parameters of its own that it knows how to draw."""

from .module import Module


class Layer(Module):
    """Base of the layers that own parameters; keeps track of whether anybody has written them since they were drawn."""

    _drawn = ()

    def _draw(self, seed, path):
        self._draw_parameters(seed, path)
        versions = tuple((id(tensor), tensor.version) for tensor in self._own_tensors())
        object.__setattr__(self, "_drawn", versions)

    def _is_untouched(self):
        return self._drawn == tuple((id(tensor), tensor.version) for tensor in self._own_tensors())

    def _keep_weights(self):
        object.__setattr__(self, "_drawn", ())

    def _own_tensors(self):
        return [value for value in self.__dict__.values() if hasattr(value, "storage")]

    def _replace(self, name, old, new):
        untouched = self._is_untouched()
        super()._replace(name, old, new)
        if untouched:
            object.__setattr__(self, "_drawn", tuple((id(t), t.version) for t in self._own_tensors()))

    def _draw_parameters(self, seed, path):
        raise NotImplementedError


def positive_int(value, what):
    """value as an int >= 1, or an error that names it."""
    import operator

    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be an integer, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{what} must be at least 1, got {number}")
    return number
