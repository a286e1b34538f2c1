"""Steps whose gradients something looks at between the two programs: accumulation, hooks.

One Python call per batch; the other way to train (`Engine.run`) has none. Both use the same two programs.
"""

import numpy as np


def is_visible(trainer):
    """Whether the gradients must pass through Python between the gradient program and the update."""
    return trainer.accumulate > 1 or trainer.gradient_hook is not None


def run_visible(engine, externals, index, offsets, losses, weights):
    """One update from len(offsets) - 1 micro-batches; returns how many losses it filled.

    Means are combined by the weights of the micro-batches (rows, or sums of sample weights), decision 15.
    """
    trainer, training = engine.trainer, engine.training
    arena = training.arena
    count = len(offsets) - 1
    total = None
    for i in range(count):
        # parts of one batch draw the random bits that the whole batch would
        window, row = offsets[i : i + 2], engine.part_row(offsets[i] - offsets[0])
        training.run_steps(None, externals, index, window, row, None, 1, losses[i : i + 1], None, 0.0, False)
        if count > 1:
            total = np.zeros(arena.shape, np.float64) if total is None else total
            total += arena * float(weights[i])
    if count > 1:
        whole = float(np.sum(weights[:count]))
        arena[...] = total / (whole if whole > 0 else 1.0)
    if trainer.gradient_hook is not None:
        trainer.gradient_hook(gradients_by_name(engine))
    update = engine.update
    update.program.run(1, {}, tuple(update.rows(1, trainer._rate())[0, : update.width]))
    engine.made(1, 1)
    return count


def gradients_by_name(engine):
    """{name: writable view of the gradient in logical shape}."""
    from ..graph.parameter import logical_view

    return {name: logical_view(gradient, parameter.shape) for name, parameter, gradient in engine.items}
