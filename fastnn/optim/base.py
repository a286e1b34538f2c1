"""Optimizer: what every optimizer shares: options, groups by glob, the rule for decay, scalars per step."""

from copy import copy
from fnmatch import fnmatchcase
from typing import Any

from ..hints import PARAMETERS_FIRST
from ..validation import (
    Strict,
    check_flag,
    check_not_negative,
    check_number,
    check_positive,
    check_share,
    is_number,
)


def check_betas(owner: str, name: str, value: Any) -> tuple[Any, ...]:
    """Two decays in [0, 1), as a tuple."""
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(map(is_number, value)):
        raise ValueError(f"{owner}: {name} must be two numbers in [0, 1), got {value!r}")
    for i, beta in enumerate(value):
        if not 0 <= beta < 1:
            raise ValueError(f"{owner}: {name}[{i}] must be in [0, 1), got {beta!r}")
    return tuple(value)


class Optimizer(Strict):
    """Base of the optimizers: plain attributes, changed at will between steps (a callback may set ``optimizer.lr``).

    A subclass names the row of the native list (``kind``), its options with defaults, and computes the row's scalars
    for the next steps in double precision. It holds no state of any model, and every `Trainer` takes a copy for itself:
    change ``trainer.optimizer.lr``. Unknown attributes and values out of range are refused.

    Parameters
    ----------
    groups : sequence of dict
        ``{"params": glob or list of globs, option: value, ...}``; the first group that matches a parameter's name
        wins, the others get the optimizer's own options.
    decay_bias : bool, default False
        True also decays biases and norm parameters (those with fewer than two dimensions), as PyTorch does. A
        group that sets ``weight_decay`` or ``l1`` itself is taken at its word.
    l1 : float, default 0
        ``l1 * sign(w)`` is added to the gradient; spares biases as `weight_decay` does.
    max_norm : float, optional
        After the step, a unit whose incoming weights (a row of an ``(out, in)`` weight) are longer is scaled back to
        this Euclidean norm.
    decoupled_weight_decay : bool, default False
        ``w *= 1 - lr * weight_decay`` before the step, instead of ``weight_decay * w`` in the gradient.
    maximize : bool, default False
        Follow the gradient upwards. For the optimizer as a whole, not per group.
    """

    kind = ""  # row of optimizers.def
    _kind = "optimizer"
    options: tuple[str, ...] = ()  # names of the attributes that a group may override, besides those below
    common: tuple[str, ...] = ("weight_decay", "l1", "max_norm", "decoupled_weight_decay")
    per_layer = False  # a step needs norms of the whole parameter
    changes = 0  # counts assignments, so that a step need not look at every option; groups it looks at

    _checks = {  # an option means the same wherever it occurs
        **dict.fromkeys(
            ("lr", "weight_decay", "l1", "eps", "momentum", "lr_decay", "initial_accumulator_value", "momentum_decay",
             "trust_coefficient"), check_not_negative),
        **dict.fromkeys(
            ("decoupled_weight_decay", "maximize", "decay_bias", "nesterov", "amsgrad", "centered"), check_flag),
        **dict.fromkeys(("rho", "alpha"), check_share),
        "max_norm": check_positive, "trust_clip": check_positive, "betas": check_betas, "dampening": check_number,
    }  # fmt: skip

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("params")
        if first is not None and (hasattr(first, "__iter__") or hasattr(first, "named_parameters")):
            raise TypeError(f"{cls.__name__}: {PARAMETERS_FIRST}")
        return super().__new__(cls)

    def __setattr__(self, name, value):
        if "_sealed" in self.__dict__:
            if name == "groups":
                value = self._checked_groups(value)
            elif name in (*self.options, *self.common):
                self._check({**self._own_options(), name: value})
        super().__setattr__(name, value)
        self.__dict__["changes"] = self.changes + 1

    def _configure(
        self, *, groups=(), decay_bias=False, l1=0.0, max_norm=None, decoupled_weight_decay=False, maximize=False
    ):
        self.l1 = l1
        self.max_norm = max_norm
        self.decoupled_weight_decay = decoupled_weight_decay
        self.maximize = maximize
        self.decay_bias = decay_bias
        self._check(self._own_options())
        self.groups = self._checked_groups(groups)

    def _checked_groups(self, groups):
        """The groups as a list of dicts of their own; ValueError for what no group can be."""
        name, allowed, checked = self._name(), (*self.options, *self.common), []
        if isinstance(groups, (str, dict)) or not hasattr(groups, "__iter__"):
            raise ValueError(f"{name}: groups must be a list of dicts, got {groups!r}")
        for group in groups:
            if not isinstance(group, dict) or "params" not in group:
                raise ValueError(f"{name}: a group needs 'params', a glob on parameter names; got {group}")
            group = dict(group)
            patterns = group["params"]
            patterns = [patterns] if isinstance(patterns, str) else patterns
            if not isinstance(patterns, (list, tuple)) or not all(isinstance(pattern, str) for pattern in patterns):
                raise ValueError(f"{name}: a group's 'params' are globs on parameter names, got {patterns!r}")
            group["params"] = list(patterns)
            unknown = group.keys() - {"params", *allowed}
            if unknown:
                wrong = sorted(map(str, unknown))[0]
                raise ValueError(f"{name}: unknown option {wrong!r} in a group; allowed: {', '.join(allowed)}")
            self._check({**self._own_options(), **{k: v for k, v in group.items() if k != "params"}})
            checked.append(group)
        return checked

    def _name(self):
        return type(self).__name__

    def _own_options(self):
        own = self.__dict__
        return {name: own[name] for name in (*self.options, *self.common)}

    def _check(self, options):
        """Raise ValueError for options out of range, or that do not go together (subclasses add those)."""
        for option, value in options.items():
            if option in self._checks:
                self._checks[option](self._name(), option, value)

    def group_of(self, name: str) -> Any:
        """Index of the first group whose glob matches a parameter's name, or -1."""
        for i, group in enumerate(self.groups):
            if any(fnmatchcase(name, pattern) for pattern in group["params"]):
                return i
        return -1

    def check_groups(self, names: Any) -> None:
        """Raise ValueError if a glob of a group matches none of the parameter names (a typing error, mostly)."""
        for group in self.groups:
            for pattern in group["params"]:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise ValueError(
                        f"{self._name()}: group pattern {pattern!r} matches no parameter; names are like "
                        f"{', '.join(list(names)[:4])}"
                    )

    def options_of(self, group: int, decays: bool = True) -> Any:
        """The options of a group (-1: the optimizer's own), as they are now."""
        options = self._own_options()
        own = self.groups[group] if group >= 0 else {}
        for name, value in own.items():
            if name != "params":
                options[name] = value
        if not (decays or self.decay_bias):
            for name in ("weight_decay", "l1"):
                if name not in own:
                    options[name] = 0.0
        return options

    def has_penalties(self) -> Any:
        """Whether any group has an L2 or L1 term."""
        return any(any(self.penalties(self.options_of(group))) for group in range(-1, len(self.groups)))

    def penalties(self, options: dict[str, Any]) -> Any:
        """(L2, L1): the factors of ``||W||^2 / 2`` and ``||W||_1`` whose gradients these options add to the loss's."""
        return (0.0 if options["decoupled_weight_decay"] else options["weight_decay"]), options["l1"]

    def states(self, options: dict[str, Any]) -> Any:
        """Names of the states that these options need, among those of the native row."""
        raise NotImplementedError

    def initial(self, state: Any, options: dict[str, Any]) -> Any:
        """The value that a state starts from."""
        return 0.0

    def scalars(self, options: dict[str, Any], first_step: int, count: int) -> Any:
        """Columns of the native row's scalars for steps first_step .. first_step + count - 1 (steps from 1).

        Returns
        -------
        list of float or list of float
            One entry per scalar, in the row's order: a float that holds for all steps, or one value per step.
        """
        raise NotImplementedError

    def momentum_of(self, options: dict[str, Any]) -> Any:
        """The momentum, or the first beta; 0 without either."""
        return options["betas"][0] if "betas" in options else options.get("momentum", 0.0)

    def moving_scalars(self, options: dict[str, Any], first_step: int, momenta: Any) -> Any:
        """`scalars` for steps that each have a momentum (or first beta) of their own, as a schedule gives them."""
        if self.momentum_of(options) == 0:
            raise ValueError(
                f"{self._name()} has no momentum for the schedule to move: give it one, or cycle_momentum=False"
            )
        rows = []
        for step, momentum in enumerate(momenta.tolist(), first_step):
            changed = {"betas": (momentum, *options["betas"][1:])} if "betas" in options else {"momentum": momentum}
            values = self.scalars({**options, **changed}, step, 1)
            rows.append([value[0] if type(value) is list else value for value in values])
        return [list(column) for column in zip(*rows, strict=True)]

    def to_config(self) -> dict[str, Any]:
        """Return {"class": name, options} for JSON."""
        config = {"class": self._name(), **self._own_options()}
        config.update(maximize=self.maximize, decay_bias=self.decay_bias)
        if "betas" in config:
            config["betas"] = list(config["betas"])
        if self.groups:
            config["groups"] = [dict(group) for group in self.groups]
        return config

    def load_config(self, config: dict[str, Any]) -> None:
        """Take over the options that `to_config` returned (rates that a callback has changed, for example).

        Raises
        ------
        ValueError
            Unknown options or values out of range. Nothing is changed then.
        """
        fresh = self.with_options(config)
        kept = {**fresh.__dict__, "changes": self.changes}
        if kept != self.__dict__:
            self.__dict__.update({**kept, "changes": self.changes + 1})

    def with_options(self, config: dict[str, Any]) -> Any:
        """A copy with the options that `to_config` returned."""
        name, known = self._name(), {*self._own_options(), "maximize", "decay_bias", "groups"}
        if not isinstance(config, dict):
            raise ValueError(f"{name}: options must be a dict, got {type(config).__name__}")
        config = {"groups": [], **{key: value for key, value in config.items() if key != "class"}}
        if not config.keys() <= known:
            wrong = sorted(map(str, config.keys() - known))[0]
            raise ValueError(f"{name}: unknown option {wrong!r}; it has {', '.join(sorted(known))}")
        fresh = copy(self)
        fresh.__dict__.pop("_sealed", None)
        groups = config.pop("groups")
        for option, value in config.items():
            if option in self.__dict__:
                setattr(fresh, option, tuple(value) if isinstance(value, list) else value)
        fresh._check(fresh._own_options())
        fresh.groups = fresh._checked_groups(groups)
        fresh.__dict__.update({key: self.__dict__[key] for key in ("_sealed",) if key in self.__dict__})
        return fresh

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in (*self.options, "weight_decay")]
        rest = {"l1": 0.0, "max_norm": None, "decoupled_weight_decay": False, "maximize": False, "decay_bias": False}
        shown += [f"{name}={getattr(self, name)!r}" for name, usual in rest.items() if getattr(self, name) != usual]
        shown += [f"groups={self.groups!r}"] if self.groups else []
        return f"{self._name()}({', '.join(shown)})"
