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
        group that sets ``weight_decay`` itself is taken at its word.
    """

    kind = ""  # row of optimizers.def
    options = ()  # names of the attributes that a group may override

    def _configure(self, groups, decay_bias):
        self.decay_bias = bool(decay_bias)
        self.groups = [dict(group) for group in groups]
        for group in self.groups:
            if "params" not in group:
                raise ValueError(f"{self._name()}: a group needs 'params', a glob on parameter names; got {group}")
            if isinstance(group["params"], str):
                group["params"] = [group["params"]]
            unknown = group.keys() - {"params", *self.options}
            if unknown:
                wrong, allowed = sorted(unknown)[0], ", ".join(self.options)
                raise ValueError(f"{self._name()}: unknown option {wrong!r} in a group; allowed: {allowed}")
        self._check(self._own_options())
        for group in self.groups:
            self._check({**self._own_options(), **{k: v for k, v in group.items() if k != "params"}})

    def _name(self):
        return type(self).__name__

    def _own_options(self):
        return {name: getattr(self, name) for name in self.options}

    def _check(self, options):
        """Raise ValueError for an option out of range. Subclasses extend it."""
        name = self._name()
        _not_negative(name, "lr", options["lr"])
        _not_negative(name, "weight_decay", options["weight_decay"])

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

    def options_of(self, group, decays):
        """The options of a group (-1: the optimizer's own), as they are now."""
        options = self._own_options()
        own_decay = False
        if group >= 0:
            for name, value in self.groups[group].items():
                if name != "params":
                    options[name] = value
                    own_decay = own_decay or name == "weight_decay"
        if not (decays or own_decay or self.decay_bias):
            options["weight_decay"] = 0.0
        return options

    def scalars(self, options, first_step, count):
        """Columns of the native row's scalars for steps first_step .. first_step + count - 1 (steps from 1).

        Returns
        -------
        list of float or list of float
            One entry per scalar, in the row's order: a float that holds for all steps, or one value per step.
        """
        raise NotImplementedError

    def to_config(self):
        """Return {"class": name, options} for JSON."""
        config = {"class": self._name(), **self._own_options(), "decay_bias": self.decay_bias}
        if "betas" in config:
            config["betas"] = list(config["betas"])
        if self.groups:
            config["groups"] = [dict(group) for group in self.groups]
        return config

    def __repr__(self):
        inner = ", ".join(f"{name}={value!r}" for name, value in self._own_options().items())
        if self.decay_bias:
            inner += ", decay_bias=True"
        return f"{self._name()}({inner}{f', groups={self.groups!r}' if self.groups else ''})"


def _not_negative(owner, name, value):
    if isinstance(value, str) or not value >= 0 or value == float("inf"):
        raise ValueError(f"{owner}: {name} must be a finite number >= 0, got {value!r}")


def check_share(owner, name, value):
    """Raise unless 0 <= value < 1."""
    if isinstance(value, str) or not 0 <= value < 1:
        raise ValueError(f"{owner}: {name} must be in [0, 1), got {value!r}")


check_not_negative = _not_negative
