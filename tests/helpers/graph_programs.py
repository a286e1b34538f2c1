"""Programs made from graphs, and steps through the native loop."""

import numpy as np

from fastnn import graph
from fastnn.graph.parameter import Parameter

F32, F64, I64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


def parameter(rng, *shape, dtype=np.float64, **options):
    return Parameter((rng.normal(size=shape) / np.sqrt(max(shape[-1], 1))).astype(dtype), **options)


def infer(module, *feature_shapes, dtype=F64, **options):
    return graph.build_inference(module, [(shape, dtype) for shape in feature_shapes], dtype, **options)


def train(module, loss, feature_shapes, target=((), I64), dtype=F64, capacity=64, **options):
    specs = [(shape, dtype) for shape in feature_shapes]
    return graph.build_training(module, loss, specs, target, dtype, capacity=capacity, **options)


def steps(program, data, batches, update=None):
    """Losses of batches (arrays of row numbers) through the native loop."""
    index = np.concatenate(batches).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(b) for b in batches])]).astype(np.int64)
    losses = np.zeros(len(batches))
    externals = {program.inputs[name]: array for name, array in data.items()}
    scalars = np.zeros((len(batches), len(program.scalar_names)))
    scalars[:, 0] = np.arange(len(batches))
    scalars[:, 2:] = np.diff(offsets)[:, None]  # divisors, where gradients accumulate
    done = program.run_steps(update, externals, index, offsets, scalars, None, None, losses, None, 0.0, False)
    assert done == len(batches)
    return losses


def logical(program, param):
    """The gradient of a parameter in logical shape."""
    for p, view in program.gradients:
        if p is param:
            return graph.parameter.logical_view(view, p.shape)
    raise AssertionError("no gradient for this parameter")
