"""Optimizer: what every optimizer shares: options, groups by glob, the rule for decay, scalars per step."""

from fnmatch import fnmatchcase


class Optimizer:
    """Base of the optimizers: plain attributes, changed at will between steps (a callback may set ``optimizer.lr``).

    A subclass names the row of the native list (``kind``), its options with defaults, and computes the row's scalars
    for the next steps in double precision. It holds no state of any model: one object may serve several trainers.

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
    options = ()  # names of the attributes that a group may override, besides those below
    common = ("weight_decay", "l1", "max_norm", "decoupled_weight_decay")
    per_layer = False  # a step needs norms of the whole parameter
    changes = 0  # counts assignments, so that a step need not look at every option; groups it looks at

    def __setattr__(self, name, value):
        self.__dict__[name] = value
        self.__dict__["changes"] = self.changes + 1

    def _configure(
        self, *, groups=(), decay_bias=False, l1=0.0, max_norm=None, decoupled_weight_decay=False, maximize=False
    ):
        self.l1 = l1
        self.max_norm = max_norm
        self.decoupled_weight_decay = bool(decoupled_weight_decay)
        self.maximize = bool(maximize)
        self.decay_bias = bool(decay_bias)
        self.groups = [dict(group) for group in groups]
        for group in self.groups:
            if "params" not in group:
                raise ValueError(f"{self._name()}: a group needs 'params', a glob on parameter names; got {group}")
            if isinstance(group["params"], str):
                group["params"] = [group["params"]]
            allowed = (*self.options, *self.common)
            unknown = group.keys() - {"params", *allowed}
            if unknown:
                wrong = sorted(unknown)[0]
                raise ValueError(
                    f"{self._name()}: unknown option {wrong!r} in a group; allowed: {', '.join(allowed)}"
                )
        self._check(self._own_options())
        for group in self.groups:
            self._check({**self._own_options(), **{k: v for k, v in group.items() if k != "params"}})

    def _name(self):
        return type(self).__name__

    def _own_options(self):
        own = self.__dict__
        return {name: own[name] for name in (*self.options, *self.common)}

    def _check(self, options):
        """Raise ValueError for an option out of range. Subclasses extend it."""
        name = self._name()
        for option in ("lr", "weight_decay", "l1"):
            check_not_negative(name, option, options[option])
        limit = options["max_norm"]
        if limit is not None and (isinstance(limit, str) or not limit > 0):
            raise ValueError(f"{name}: max_norm must be positive or None, got {limit!r}")

    def group_of(self, name):
        """Index of the first group whose glob matches a parameter's name, or -1."""
        for i, group in enumerate(self.groups):
            if any(fnmatchcase(name, pattern) for pattern in group["params"]):
                return i
        return -1

    def check_groups(self, names):
        """Raise ValueError if a glob of a group matches none of the parameter names (a typing error, mostly)."""
        for group in self.groups:
            for pattern in group["params"]:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise ValueError(
                        f"{self._name()}: group pattern {pattern!r} matches no parameter; names are like "
                        f"{', '.join(list(names)[:4])}"
                    )

    def options_of(self, group, decays=True):
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

    def has_penalties(self):
        """Whether any group has an L2 or L1 term."""
        return any(any(self.penalties(self.options_of(group))) for group in range(-1, len(self.groups)))

    def penalties(self, options):
        """(L2, L1): the factors of ``||W||^2 / 2`` and ``||W||_1`` whose gradients these options add to the loss's."""
        return (0.0 if options["decoupled_weight_decay"] else options["weight_decay"]), options["l1"]

    def states(self, options):
        """Names of the states that these options need, among those of the native row."""
        raise NotImplementedError

    def initial(self, state, options):
        """The value that a state starts from."""
        return 0.0

    def scalars(self, options, first_step, count):
        """Columns of the native row's scalars for steps first_step .. first_step + count - 1 (steps from 1).

        Returns
        -------
        list of float or list of float
            One entry per scalar, in the row's order: a float that holds for all steps, or one value per step.
        """
        raise NotImplementedError

    def momentum_of(self, options):
        """The momentum, or the first beta; 0 without either."""
        return options["betas"][0] if "betas" in options else options.get("momentum", 0.0)

    def moving_scalars(self, options, first_step, momenta):
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

    def to_config(self):
        """Return {"class": name, options} for JSON."""
        config = {"class": self._name(), **self._own_options()}
        config.update(maximize=self.maximize, decay_bias=self.decay_bias)
        if "betas" in config:
            config["betas"] = list(config["betas"])
        if self.groups:
            config["groups"] = [dict(group) for group in self.groups]
        return config

    def load_config(self, config):
        """Take over the options that `to_config` returned (rates that a callback has changed, for example)."""
        for name, value in {"groups": [], **config}.items():
            if name == "groups":
                value = [dict(group) for group in value]
            elif isinstance(value, list):
                value = tuple(value)
            if name != "class" and getattr(self, name) != value:
                setattr(self, name, value)

    def __repr__(self):
        shown = [f"{name}={getattr(self, name)!r}" for name in (*self.options, "weight_decay")]
        rest = {"l1": 0.0, "max_norm": None, "decoupled_weight_decay": False, "maximize": False, "decay_bias": False}
        shown += [f"{name}={getattr(self, name)!r}" for name, usual in rest.items() if getattr(self, name) != usual]
        shown += [f"groups={self.groups!r}"] if self.groups else []
        return f"{self._name()}({', '.join(shown)})"


def check_not_negative(owner, name, value):
    """Raise unless 0 <= value < infinity."""
    if isinstance(value, str) or not value >= 0 or value == float("inf"):
        raise ValueError(f"{owner}: {name} must be a finite number >= 0, got {value!r}")


def check_share(owner, name, value):
    """Raise unless 0 <= value < 1."""
    if isinstance(value, str) or not 0 <= value < 1:
        raise ValueError(f"{owner}: {name} must be in [0, 1), got {value!r}")
