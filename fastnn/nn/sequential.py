"""Modules made of a list of layers: Sequential, Residual, Concat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import functional as F
from .lists import ModuleList
from .module import Module, draw_untouched

if TYPE_CHECKING:
    from typing_extensions import Self


class Container(Module):
    """Base of the modules that hold a list of layers, named "0", "1", ... as in PyTorch."""

    _seed = None
    _names: tuple[str, ...] = ()  # of the layers, where they have names of their own

    def __init__(self, *layers: Any, seed: int | None = None) -> None:
        if len(layers) == 1 and isinstance(layers[0], dict):
            self._names, layers = tuple(map(str, layers[0])), tuple(layers[0].values())
        for i, layer in enumerate(layers):
            self._check_layer(f"item {i}", layer)
        object.__setattr__(self, "_layers", ModuleList(layers))  # named "0", "1", ..., not "_layers.0"
        self._seed = seed
        self._settle()

    def _check_layer(self, what, layer):
        if not isinstance(layer, Module):
            name = type(self).__name__
            raise TypeError(f"{name}: {what} is {type(layer).__name__}, not a Module; nn.ReLU() needs its ()")

    def _settle(self):
        """After a change of the list: give what nobody has written yet the weights of its place and neighbours."""
        seed = self._seed
        self._fit_init("linear")
        for name, child in self.named_children():
            draw_untouched(child, seed, name)
        if seed is not None:
            for module in self.modules():
                module._keep_weights()

    def named_children(self) -> Iterator[Any]:
        for i, layer in enumerate(self._layers):
            yield (self._names[i] if i < len(self._names) else str(i)), layer

    def __getattr__(self, name):
        names = self.__dict__.get("_names", ())
        return self._layers[names.index(name)] if name in names else super().__getattr__(name)

    def append(self, layer: Any) -> Self:
        """Add a module at the end. Returns self."""
        self._check_layer("what is appended", layer)
        self._layers.append(layer)
        self._settle()
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers)

    def __getitem__(self, index: int | slice) -> Any:
        """A layer by its number; a slice as a `Sequential` of the same layers, whose weights stay as they are."""
        if not isinstance(index, slice):
            return self._layers[index]
        part = Sequential()
        object.__setattr__(part, "_layers", ModuleList(self._layers[index]))
        if self._names:
            part._names = tuple(name for name, _ in self.named_children())[index]
        return part

    def __setitem__(self, index: int | slice, layer: Any) -> None:
        self._check_layer(f"item {index}", layer)
        self._layers[index] = layer
        self._settle()

    def __delitem__(self, index: int | slice) -> None:
        names = [name for name, _ in self.named_children()] if self._names else []
        del self._layers[index]
        if names:
            del names[index]
            self._names = tuple(names)
        self._settle()


class Sequential(Container):
    """Modules applied in order; names are "0", "1", ... as in PyTorch.

    Parameters
    ----------
    *layers : Module
        Or one dict {name: Module}: the layers then have these names, as attributes and in ``state_dict()``.
    seed : int, optional
        The initial weights are drawn from streams keyed by (seed, name of the parameter), so that equal models get
        equal weights on every machine, thread count and order of construction. Without it every layer has a seed of
        its own, another in every model (see ``fastnn.manual_seed``). Layers that were written before
        (``load_state_dict``, ``assign``) or have a seed of their own keep their weights.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10), seed=1)
    >>> model.state_dict()["0.weight"].shape
    (128, 64)
    """

    def forward(self, x: Any) -> Any:
        for layer in self._layers:
            x = layer(x)
        return x

    def _fit_init(self, following):
        for layer in reversed(self._layers):
            following = layer._fit_init(following)
        return following


class Residual(Sequential):
    """Layers with a shortcut around them: ``y = x + layers(x)``. He, Zhang, Ren & Sun 2016.

    Parameters
    ----------
    *layers : Module
    shortcut : Module, optional
        What the shortcut applies to x, such as ``nn.Linear(8, 16, bias=False)`` where the layers change the width.
        Default: nothing.
    seed : int, optional
        As `Sequential`'s.

    Examples
    --------
    >>> block = nn.Residual(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    """

    def __init__(self, *layers: Any, shortcut: Any = None, seed: int | None = None) -> None:
        if shortcut is not None:
            self._check_layer("shortcut", shortcut)
        self.shortcut = shortcut
        super().__init__(*layers, seed=seed)

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        straight = x if self.shortcut is None else self.shortcut(x)
        if straight.shape != y.shape:
            raise ValueError(
                f"Residual adds a shortcut of shape {straight.shape} to layers' output of shape {y.shape}; "
                "give shortcut=nn.Linear(in, out) where the width changes"
            )
        return straight + y

    def named_children(self) -> Iterator[Any]:
        yield from super().named_children()
        if self.shortcut is not None:
            yield "shortcut", self.shortcut

    def _fit_init(self, following):
        if self.shortcut is not None:
            self.shortcut._fit_init("linear")
        super()._fit_init(following)
        return "linear"


class Concat(Container):
    """Branches side by side on the same input, their outputs joined along the last axis.

    Parameters
    ----------
    *branches : Module
        ``nn.Identity()`` passes the input itself on.
    seed : int, optional
        As `Sequential`'s.

    Examples
    --------
    >>> wide_and_deep = nn.Concat(nn.Identity(), nn.Sequential(nn.Linear(8, 32), nn.ReLU()))
    """

    def __init__(self, *branches: Any, seed: int | None = None) -> None:
        if not branches:
            raise ValueError("Concat needs at least one branch")
        super().__init__(*branches, seed=seed)

    def forward(self, x: Any) -> Any:
        return F.concatenate([branch(x) for branch in self._layers], axis=-1)

    def _fit_init(self, following):
        for branch in self._layers:
            branch._fit_init(following)
        return "linear"


class ProbabilityAverage(Concat):
    """Classifiers as one: the logarithm of the mean of their probabilities, ``log(sum_k softmax(branch_k(x)) / K)``.

    Its outputs are logits again (their softmax is the mean), so that `CrossEntropyLoss` measures the average.

    Parameters
    ----------
    *branches : Module
        Networks that end in logits of the same classes.
    seed : int, optional
        As `Sequential`'s.
    """

    def forward(self, x: Any) -> Any:
        total = F.softmax(self._layers[0](x))
        for branch in self._layers[1:]:
            total = total + F.softmax(branch(x))
        return F.log(total * (1.0 / len(self._layers)) + 1e-37)  # a probability that underflows keeps a finite logit
