"""State of a trainer in and out: per parameter name, in logical shape, so that any ISA and thread count can go on."""

import json

from ..optim.ewma import WeightAverage
from ..optim.state import OptimizerState
from .position import Position

_MODEL = "model/"
_OPTIMIZER = "optimizer/"
_AVERAGE = "average/"
_FIT = "fit/"
_KEY = "fastnn.checkpoint"


def state_dict(trainer):
    """See `Trainer.state_dict`."""
    if trainer._holds_average:
        raise RuntimeError("the model holds its averaged weights: save after the with trainer.averaged() block")
    with trainer.model._guard.reading():  # weights, moments and counters of one step
        return _guarded_state(trainer)


def _guarded_state(trainer):
    parameters = dict(trainer.model.named_parameters())
    arrays = {_MODEL + name: array for name, array in trainer.model.state_dict().items()}
    moments, steps = trainer._optimizer_state.state_dict(parameters)
    arrays.update((_OPTIMIZER + name, array) for name, array in moments.items())
    averages, averaged_steps = trainer._average.state_dict(parameters)
    arrays.update((_AVERAGE + name, array) for name, array in averages.items())
    values = {
        "epoch": trainer.epoch,
        "step": trainer.step,
        "micro_step": trainer.micro_step,
        "seed": trainer.seed,
        "optimizer": trainer.optimizer.kind,
        "optimizer_options": trainer.optimizer.to_config(),
        "parameter_steps": steps,
        "averaged_steps": averaged_steps,
        "history": trainer.history.to_dict(),
    }
    position = trainer._position if trainer._fit is None else trainer._fit.here()
    if position is not None:
        own, values["fit"] = position.to_parts()
        arrays.update((_FIT + name, array) for name, array in own.items())
    return arrays, values


def _under(prefix, arrays):
    """The arrays whose names begin so, without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def load_state_dict(trainer, arrays, values):
    """See `Trainer.load_state_dict`."""
    if values.get("parameter_steps") and values["optimizer"] != trainer.optimizer.kind:
        raise ValueError(
            f"the checkpoint holds the state of {values['optimizer']!r}, this trainer's optimizer is "
            f"{trainer.optimizer.kind!r}"
        )
    optimizer, parameters = trainer.optimizer, dict(trainer.model.named_parameters())
    position = Position.from_parts(_under(_FIT, arrays), values["fit"]) if "fit" in values else None
    state, average, before = OptimizerState(), WeightAverage(), optimizer.to_config()
    try:  # all that can be refused comes before the first change
        if values["optimizer"] == optimizer.kind:
            optimizer.load_config(values["optimizer_options"])
        state.load_state_dict(optimizer, parameters, _under(_OPTIMIZER, arrays), values["parameter_steps"])
        average.load_state_dict(parameters, _under(_AVERAGE, arrays), values.get("averaged_steps", {}))
        trainer.model.load_state_dict(_under(_MODEL, arrays))
    except BaseException:
        optimizer.load_config(before)
        raise
    trainer._forget_programs()
    trainer._optimizer_state, trainer._average, trainer._position = state, average, position
    trainer.epoch = int(values["epoch"])
    trainer.step = int(values["step"])
    trainer.micro_step = int(values["micro_step"])
    trainer.seed = int(values["seed"])
    trainer.history.load_dict(values["history"])


def _plain(value):
    """NumPy's numbers, which callbacks put into the history, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a checkpoint cannot keep {value!r}: plain numbers, texts, lists and dicts only")


def save(trainer, path):
    """See `Trainer.save_checkpoint`."""
    from ..io import checksum
    from ..io.atomic import write_atomic
    from ..io.safetensors import to_bytes

    arrays, values = state_dict(trainer)
    metadata = {"fastnn.schema": "1", _KEY: json.dumps(values, default=_plain), checksum.KEY: checksum.BLANK}
    write_atomic(path, *checksum.seal(to_bytes(arrays, metadata)))


def resume(trainer, path):
    """See `Trainer.resume`."""
    from ..io import checksum
    from ..io.safetensors import from_bytes, read_file, read_header

    data = read_file(path)
    _, metadata = read_header(data, path)
    checksum.check(data, metadata, path)
    if _KEY not in metadata:
        raise ValueError(f"{path} is not a checkpoint of a Trainer")
    load_state_dict(trainer, from_bytes(data, path), json.loads(metadata[_KEY]))
