"""Averaged weights of a trainer: read them, or let the model have them for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from numpy.typing import NDArray


def _averages(trainer):
    """{name: averaged values in logical shape}"""
    arrays, _ = trainer.state.average.state_dict(dict(trainer.model.named_parameters()))
    if not arrays:
        raise RuntimeError("there are no averaged weights: give Trainer ema= and train first")
    return arrays


def averaged_state_dict(trainer) -> dict[str, NDArray]:
    """See `Trainer.averaged_state_dict`."""
    return {**trainer.model.state_dict(), **_averages(trainer)}


@contextmanager
def averaged(trainer) -> Iterator:
    """See `Trainer.averaged`."""
    trained = trainer.model.state_dict()
    trainer.model.load_state_dict({**trained, **_averages(trainer)})
    trainer._runner.forget_cached()  # they do not look at what the model holds
    trainer.state.holds_average = True
    try:
        yield trainer.model
    finally:
        trainer.state.holds_average = False
        trainer.model.load_state_dict(trained)
