"""Sequential: layers one after the other."""

from .module import Module, ModuleList, draw_untouched


class Sequential(Module):
    """Modules applied in order; names are "0", "1", ... as in PyTorch.

    Parameters
    ----------
    *layers : Module
    seed : int, optional
        The initial weights are drawn from streams keyed by (seed, name of the parameter), so that equal models get
        equal weights on every machine, thread count and order of construction. Default 0, and the names change when
        this becomes part of a larger model. Layers that were written before (``load_state_dict``, ``assign``) or have
        a seed of their own keep their weights.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10), seed=1)
    >>> model.state_dict()["0.weight"].shape
    (128, 64)
    """

    def __init__(self, *layers, seed=None):
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: item {i} is {type(layer).__name__}, not a Module; nn.ReLU() needs its ()")
        self._layers = ModuleList(layers)
        for name, child in self.named_children():
            draw_untouched(child, 0 if seed is None else seed, name)
        if seed is not None:
            for module in self.modules():
                module._keep_weights()
        self._changed()

    def forward(self, x):
        for layer in self._layers:
            x = layer(x)
        return x

    def named_children(self):
        for i, layer in enumerate(self._layers):
            yield str(i), layer

    def append(self, layer):
        """Add a module at the end. Returns self."""
        if not isinstance(layer, Module):
            raise TypeError(f"Sequential.append: {type(layer).__name__} is not a Module")
        self._layers.append(layer)
        self._changed()
        return self

    def __len__(self):
        return len(self._layers)

    def __iter__(self):
        return iter(self._layers)

    def __getitem__(self, index):
        return self._layers[index]

    def __setitem__(self, index, layer):
        if not isinstance(layer, Module):
            raise TypeError(f"Sequential: {type(layer).__name__} is not a Module")
        self._layers[index] = layer
        self._changed()

    def __delitem__(self, index):
        del self._layers[index]
        self._changed()
