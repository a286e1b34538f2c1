"""From options to a network, a loss and an optimizer."""

import difflib

_DEFAULT_RATES = {"sgd": 1e-2}


def _choose(name, known, option):
    """The entry of `known` for `name`, capitals and underscores aside; ValueError that lists what there is."""
    wanted = name.lower().replace("_", "").replace("-", "")
    for key, value in known.items():
        if key.replace("_", "") == wanted:
            return key, value
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"{option} {name!r} is unknown{hint}; choose one of {', '.join(known)}")


def find_activation(name):
    """(name, class) of an activation."""
    from fastnn.nn.activations import CLASSES

    return _choose(name, {key.lower(): value for key, value in CLASSES.items()}, "--activation")


def make_model(options, inputs, outputs):
    """A Sequential: for each hidden layer Linear, batch norm if asked for, activation, dropout; then Linear."""
    from fastnn import nn

    _, activation = find_activation(options.activation)
    layers, width = [], inputs
    for size in options.layers:
        # Batch norm subtracts the column's mean and adds a bias of its own: one before it would do nothing.
        layers.append(nn.Linear(width, size, bias=not options.batch_norm))
        if options.batch_norm:
            layers.append(nn.BatchNorm1d(size))
        layers.append(activation())
        if options.dropout > 0.0:
            layers.append(nn.Dropout(options.dropout))
        width = size
    layers.append(nn.Linear(width, outputs))
    model = nn.Sequential(*layers, seed=options.seed)
    return model.to("float64") if options.dtype == "float64" else model


def make_optimizer(options):
    """An optimizer by name; options that it does not have are refused."""
    from fastnn import optim

    public = [getattr(optim, key) for key in optim.__all__]
    kinds = [kind for kind in public if isinstance(kind, type) and issubclass(kind, optim.Optimizer)]
    known = {kind.__name__.lower(): kind for kind in kinds if kind is not optim.Optimizer}
    name, kind = _choose(options.optimizer, known, "--optimizer")
    values = {"lr": options.lr if options.lr is not None else _DEFAULT_RATES.get(name, 1e-3)}
    if options.weight_decay:
        values["weight_decay"] = options.weight_decay
    if options.momentum is not None or name == "sgd":
        values["momentum"] = 0.9 if options.momentum is None else options.momentum
    try:
        return kind(**values)
    except TypeError:
        refused = [key for key in values if key not in (*kind.options, *kind.common)]
        raise ValueError(f"--optimizer {name} has no {' and no '.join(refused) or 'such option'}") from None


# What --loss may be for a task: name -> class of fastnn.nn; the first is the default.
LOSSES = {
    "classification": {"cross-entropy": "CrossEntropyLoss", "focal": "FocalLoss"},
    "regression": {"mse": "MSELoss", "mae": "L1Loss", "huber": "HuberLoss"},
}


def loss_class(task, name=None):
    """Class name of a loss; ValueError with the names that the task has."""
    known = LOSSES[task]
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise ValueError(f"--loss {name!r} is not for a {task}; choose one of {', '.join(known)}")
    return known[name]
