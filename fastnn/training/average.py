"""Averaged weights of a trainer: read them, or let the model have them for a while."""

from contextlib import contextmanager


def _averages(trainer):
    """{name: averaged values in logical shape}"""
    arrays, _ = trainer._average.state_dict(dict(trainer.model.named_parameters()))
    if not arrays:
        raise RuntimeError("there are no averaged weights: give Trainer ema= and train first")
    return arrays


def averaged_state_dict(trainer):
    """See `Trainer.averaged_state_dict`."""
    return {**trainer.model.state_dict(), **_averages(trainer)}


@contextmanager
def averaged(trainer):
    """See `Trainer.averaged`."""
    trained = trainer.model.state_dict()
    trainer.model.load_state_dict({**trained, **_averages(trainer)})
    trainer._holds_average = True
    try:
        yield trainer.model
    finally:
        trainer._holds_average = False
        trainer.model.load_state_dict(trained)
