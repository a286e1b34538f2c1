"""optim.minimize: the path of every optimizer on a function; EWMA.smooth; the sparse draw by name."""

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, optim

OPTIMIZERS = [
    optim.SGD(lr=0.02), optim.SGD(0.02, momentum=0.9, nesterov=True), optim.SGD(0.02, momentum=0.9, form="classical"),
    optim.Adagrad(lr=0.5), optim.Adadelta(), optim.RMSprop(lr=0.05, momentum=0.5, centered=True), optim.Adam(lr=0.1),
    optim.Adam(lr=0.1, amsgrad=True, weight_decay=0.1), optim.AdamW(lr=0.1), optim.NAdam(lr=0.1), optim.LARS(lr=1.0),
    optim.LAMB(lr=0.05, weight_decay=0.01), optim.SGD(lr=0.02, maximize=True),
]  # fmt: skip


def bowl(x):
    return (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2 + x[0] * x[1]


class Point(nn.Module):
    """The variables of a function as a model's only parameter."""

    def __init__(self, start):
        self.x = fastnn.Parameter(np.array(start))

    def forward(self, inputs):
        return inputs + self.x * 0.0


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_path_is_that_of_the_trainers_steps(optimizer):
    found = optim.minimize(bowl, [0.5, 0.5], optimizer, steps=12)
    assert found.path.shape == (13, 2) and found.values.shape == (13,)
    np.testing.assert_array_equal(found.path[0], [0.5, 0.5])
    np.testing.assert_array_equal(found.path[-1], found.x)
    np.testing.assert_allclose(found.values, [bowl(point) for point in found.path])
    assert found.value == found.values[-1]
    model = Point([0.5, 0.5])
    optimizer.decay_bias = True
    trainer = fastnn.Trainer(model, lambda output, target: F.sum(output) * 0.0 + bowl(model.x), optimizer)
    for point in found.path[1:]:
        trainer.train_step(np.zeros((1, 2)), np.zeros((1, 2)))
        np.testing.assert_allclose(model.x.numpy(), point, rtol=1e-10)


def test_numbers_tuples_and_schedules():
    assert optim.minimize(lambda x: (x - 3) ** 2, 0.0, optim.SGD(lr=0.1)).x == pytest.approx(3.0)
    found = optim.minimize(lambda a, b: F.sum((a - 1) ** 2) + b * b, (np.zeros(3), 2.0), optim.SGD(lr=0.1), steps=50)
    np.testing.assert_allclose(found.x[0], 1.0, rtol=1e-4)
    assert [path.shape for path in found.path] == [(51, 3), (51,)]
    halved = optim.minimize(lambda x: x * x, 1.0, optim.SGD(lr=0.1), scheduler=optim.ExponentialLR(0.5), steps=2)
    np.testing.assert_allclose(halved.path, [1.0, 0.8, 0.8 * 0.9])


def test_it_ends_where_nothing_is_finite_and_refuses_what_is_for_models():
    found = optim.minimize(lambda x: -(x**2), 1.0, optim.SGD(lr=1e200), steps=30)
    assert found.values[-1] == -np.inf and len(found.path) == len(found.values) == 2
    with pytest.raises(ValueError, match="minimize: l1, groups of SGD are for models"):
        optim.minimize(bowl, [0.0, 0.0], optim.SGD(0.1, l1=0.1, groups=[{"params": "*"}]))
    with pytest.raises(TypeError, match="optimizer must be an object such as"):
        optim.minimize(bowl, [0.0, 0.0], optim.SGD)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("shape", [(30,), (30, 4)])
def test_ewma_smooths_a_series(corrected, shape, rng):
    values = rng.normal(size=shape)
    average, stepwise = optim.EWMA(0.9, corrected), optim.EWMA(0.9, corrected)
    average.update(5.0)
    np.testing.assert_array_equal(average.smooth(values), [stepwise.update(value) for value in values])
    assert (average.t, average.smooth(values[:0]).shape) == (1, values[:0].shape)
    with pytest.raises(ValueError, match="smooth takes a series"):
        average.smooth(3.0)


@pytest.mark.parametrize("inputs", [4, 15, 40])
def test_sparse_weights_by_name(inputs):
    """``init="sparse"`` was listed, and raised."""
    weight = nn.Linear(inputs, 7, init="sparse", seed=3).weight.numpy()
    assert (np.count_nonzero(weight, axis=1) == min(inputs, 15)).all()
    with pytest.raises(ValueError, match="either k= .* or sparsity="):
        nn.init.sparse_(np.zeros((3, 4)), k=2, sparsity=0.5)
