"""State of a trainer in and out: per parameter name, in logical shape, so that any ISA and thread count can go on."""

import json

_MODEL = "model/"
_OPTIMIZER = "optimizer/"
_AVERAGE = "average/"
_KEY = "fastnn.checkpoint"


def state_dict(trainer):
    """See `Trainer.state_dict`."""
    if trainer._holds_average:
        raise RuntimeError("the model holds its averaged weights: save after the with trainer.averaged() block")
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
        "parameter_steps": steps,
        "averaged_steps": averaged_steps,
        "history": trainer.history.to_dict(),
    }
    return arrays, values


def load_state_dict(trainer, arrays, values):
    """See `Trainer.load_state_dict`."""
    if values.get("parameter_steps") and values["optimizer"] != trainer.optimizer.kind:
        raise ValueError(
            f"the checkpoint holds the state of {values['optimizer']!r}, this trainer's optimizer is "
            f"{trainer.optimizer.kind!r}"
        )
    weights = {name[len(_MODEL) :]: array for name, array in arrays.items() if name.startswith(_MODEL)}
    moments = {name[len(_OPTIMIZER) :]: array for name, array in arrays.items() if name.startswith(_OPTIMIZER)}
    averages = {name[len(_AVERAGE) :]: array for name, array in arrays.items() if name.startswith(_AVERAGE)}
    trainer.model.load_state_dict(weights)
    parameters = dict(trainer.model.named_parameters())
    trainer._forget_programs()
    trainer._optimizer_state.load_state_dict(trainer.optimizer, parameters, moments, values["parameter_steps"])
    trainer._average.load_state_dict(parameters, averages, values.get("averaged_steps", {}))
    trainer.epoch = int(values["epoch"])
    trainer.step = int(values["step"])
    trainer.micro_step = int(values["micro_step"])
    trainer.seed = int(values["seed"])
    trainer.history.load_dict(values["history"])


def save(trainer, path):
    """See `Trainer.save_checkpoint`."""
    from ..io import checksum
    from ..io.atomic import write_atomic
    from ..io.safetensors import to_bytes

    arrays, values = state_dict(trainer)
    metadata = {"fastnn.schema": "1", _KEY: json.dumps(values), checksum.KEY: checksum.BLANK}
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
