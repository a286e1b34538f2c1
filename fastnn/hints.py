"""What to write instead: one table of the names that people bring along from PyTorch and Keras.

Only asked when something is missing anyway, so that ``hasattr(model, "eval")`` stays False and nothing costs anything.
"""

from collections.abc import Iterable

_NO_MODE = "a model has no mode: model(x) infers, a Trainer trains, model(x, training=True) is the Monte-Carlo path"
_STEP = "trainer.train_step(x, y) makes a whole step, gradients and update"
_GRADIENT = (
    "gradients are not kept in tensors: trainer.train_step(x, y) makes a whole step; fastnn.value_and_grad and "
    "fastnn.functional_call differentiate"
)
_TRAINER = "trainer = fastnn.Trainer(model, loss, optimizer), then trainer.fit(x, y, epochs=...)"
_CPU = "fastnn runs on the CPU: there is nothing to move"
_TYPES = 'model.to("float32") and model.to("float64") convert'
_FUNCTIONS = "inside forward use fastnn.functional"

_ATTRIBUTES = {
    "module": {
        **dict.fromkeys(("eval", "train"), _NO_MODE),
        **dict.fromkeys(("fit", "compile", "evaluate", "train_on_batch", "fit_generator"), _TRAINER),
        **dict.fromkeys(("zero_grad", "backward", "grad"), _GRADIENT),
        **dict.fromkeys(("cuda", "cpu", "device", "xpu"), _CPU),
        **dict.fromkeys(("float", "double", "half", "bfloat16", "type"), _TYPES),
        "register_buffer": "assign nn.Parameter(value, buffer=True) to an attribute",
        **dict.fromkeys(("register_parameter", "add_module", "register_module"), "assign it to an attribute"),
        "register_forward_hook": "nn.probe(model, x) gives every layer's output and gradient",
        "get_weights": "model.state_dict()",
        **dict.fromkeys(("set_weights", "load_weights"), "model.load_state_dict(state), or fastnn.load(path)"),
        **dict.fromkeys(("save", "save_weights"), "fastnn.save(model, path)"),
        "predict_proba": "trainer.predict_proba(x), or fastnn.functional.softmax(model(x))",
        "buffers": "dict(model.named_buffers())",
        "layers": "list(model) of a Sequential, or model.children()",
        "weights": "model.parameters()",
    },
    "optimizer": {
        "step": _STEP,
        "zero_grad": f"gradients are made anew for every step: {_STEP}",
        "param_groups": "optimizer.groups are the groups, by globs on names; optimizer.lr is the rate",
        "state_dict": "its state lives in the Trainer: trainer.save_checkpoint(path)",
        "load_state_dict": "its state lives in the Trainer: trainer.resume(path)",
        "add_param_group": 'groups=[{"params": "*.bias", ...}] in the constructor',
        **dict.fromkeys(("minimize", "apply_gradients"), _TRAINER),
        "learning_rate": "do you mean 'lr'?",
        "state": "its state lives in the Trainer",
    },
    "trainer": {
        "compile": "loss, optimizer and metrics are arguments of Trainer(...)",
        "train": _TRAINER,
        "test": "trainer.evaluate(x, y)",
        "validate": "trainer.evaluate(x, y)",
        "save": "trainer.save_checkpoint(path), or fastnn.save(trainer.model, path)",
        "load": "trainer.resume(path)",
        "train_on_batch": "trainer.train_step(x, y)",
    },
    "loss": {"backward": _GRADIENT, "to": "a loss has no parameters", "item": "float(loss(output, target))"},
    "schedule": {
        "step": "a schedule is a function of the step, which the Trainer asks: Trainer(..., scheduler=schedule)",
        "get_last_lr": "trainer.current_lr()",
    },
    "tensor": {
        **dict.fromkeys(("backward", "grad", "requires_grad", "retain_grad", "zero_grad"), _GRADIENT),
        **dict.fromkeys(("cuda", "cpu", "device"), _CPU),
        "detach": "fastnn.functional.stop_gradient(x)",
        "view": "x.reshape(...)",
        "size": "x.shape",
        "dim": "x.ndim",
        "permute": "x.transpose(...)",
        **dict.fromkeys(("unsqueeze", "squeeze"), "x.reshape(...)"),
        **dict.fromkeys(("relu", "sigmoid", "tanh", "exp", "log", "softmax", "std", "var", "pow", "abs"), _FUNCTIONS),
        "data": "parameter.numpy() is a view of the values, parameter.assign(array) writes them",
    },
}

_KEYWORDS = {
    "dim": "axis=",
    "keepdim": "keepdims=",
    "inplace": "nothing: results are new arrays, and programs place them in memory themselves",
    "optimizer": _TRAINER,
    "loss": _TRAINER,
    "metrics": _TRAINER,
    "params": "nothing: an optimizer takes no parameters, the Trainer's model has them",
    "learning_rate": "lr=",
    "size_average": 'reduction="mean"',
    "reduce": 'reduction="mean" or "sum"',
    "device": _CPU,
    "input_shape": "in_features, the first argument",
    "units": "nn.Linear(in_features, out_features)",
}

PARAMETERS_FIRST = (
    "an optimizer takes no parameters, as in optim.Adam(lr=1e-3): the Trainer's model has them, requires_grad = False "
    'freezes one, and groups=[{"params": "*.bias", ...}] names groups'
)


def attribute(kind: str, name: str) -> str | None:
    """What to write instead of an attribute that does not exist, or None."""
    return _ATTRIBUTES.get(kind, {}).get(name)


def missing(kind: str, owner: object, name: str) -> str:
    """The message of an AttributeError: what to write instead, if that is known."""
    text, hint = f"{type(owner).__name__!r} object has no attribute {name!r}", attribute(kind, name)
    return f"{text}: {hint}" if hint else text


def keywords(function: str, names: Iterable[str]) -> str:
    """The message of a TypeError for keywords that a function does not take."""
    name = sorted(names)[0]
    hint = _KEYWORDS.get(name)
    return f"{function}() takes no keyword {name!r}" + (f": write {hint}" if hint else "")
