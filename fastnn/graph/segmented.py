"""Training steps of a model with Python-defined ops: the native segments in order, Python between them.

The same contract as _native.run_steps, step by step from Python: such a model pays for a return per segment.
"""

import time

import numpy as np

from .symbols import at


def run_steps(
    training, update, externals, index, offsets, gradient_scalars, update_scalars, updates, losses, stop, seconds,
    check_nan, ledger,
):  # fmt: skip
    """Run steps until the end, the stop flag, a NaN loss (if asked) or the time; returns how many were done."""
    started = time.perf_counter()
    done = 0
    for step in range(len(offsets) - 1):
        rows = int(offsets[step + 1] - offsets[step])
        given = dict(externals)
        if training.index_id is not None:
            given[training.index_id] = index[offsets[step] : offsets[step + 1]]
        scalars = tuple(gradient_scalars[step]) if gradient_scalars is not None else (0.0, 0.0)
        losses[step] = one_step(training, rows, given, scalars)
        done = step + 1
        ends = updates is None or bool(updates[step])
        if update is not None and ends:
            update.run(1, {}, tuple(update_scalars[step]) if update_scalars is not None else ())
        if ledger is not None:
            ledger.enter_step(rows, scalars[2] if len(scalars) > 2 else 0.0, update is not None and ends)
        if not ends:
            continue
        if (stop is not None and stop[0]) or (check_nan and not np.isfinite(losses[step])):
            break
        if seconds > 0 and time.perf_counter() - started > seconds:
            break
    return done


def one_step(training, rows, externals, scalars):
    """Loss of one batch; its gradients are in the arena afterwards."""
    plan = training.plan
    values = {}
    loss = np.zeros(1, training.dtype)
    by_id = plan._tensors()
    for segment, python_ops in zip(plan.segments, plan.python_ops, strict=True):
        plan.run_python(python_ops, rows, values)
        if segment.program is None:
            continue
        given = {buffer: values[key] for key, buffer in segment.feeds.items()}
        if segment is plan.segments[0]:
            given |= externals
        for key, buffer in segment.results.items():
            tensor = by_id[key]
            values[key] = given[buffer] = np.empty(tuple(at(s, rows) for s in tensor.shape), tensor.dtype)
        read = {training.loss_id: loss} if segment is training._loss_segment else None
        segment.program.run(rows, given, scalars, read)
    return float(loss[0])
