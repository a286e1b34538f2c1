"""functional on arrays and on symbolic tensors: same names, same results."""

import numpy as np
import pytest
from helpers.graph_cases import CASES

import fastnn
from fastnn import _native, kernels, nn
from fastnn import functional as F
from fastnn.graph.parameter import Parameter


@pytest.mark.parametrize("name", CASES)
def test_arrays_and_tensors_agree(name):
    function, inputs, _ = CASES[name]
    recorded = fastnn.compile(function)(*inputs)
    now = function(*inputs)
    assert np.shape(now) == np.shape(recorded)
    np.testing.assert_allclose(now, recorded, rtol=1e-12, atol=1e-13)


def test_every_row_of_the_lists_is_here():
    for which in ("activations", "elementwise", "binary", "losses"):
        for row in _native.list_rows(which):
            name = row["function"] or row["name"]
            function = getattr(F, name)
            assert function.__doc__ and name in F.__all__
    assert all(callable(getattr(F, name)) for name in F.__all__)


SAME_BITS = {
    "relu": lambda x: F.relu(x),
    "tanh": lambda x: F.tanh(x),
    "sigmoid": lambda x: F.sigmoid(x),
    "exp": lambda x: F.exp(x),
    "softmax": lambda x: F.softmax(x),
    "log_softmax": lambda x: F.log_softmax(x),
    "sum": lambda x: F.sum(x, axis=0),
    "mean": lambda x: F.mean(x, axis=1),
    "max": lambda x: F.max(x, axis=1),
    "dropout": lambda x: F.dropout(x, 0.3, seed=4, layer=0),
    "batch_norm": lambda x: F.batch_norm(x, training=True),
    "matmul": lambda x: F.matmul(x, x.T),
    "divide": lambda x: F.divide(x, F.add(F.square(x), 1.0)),
}


@pytest.mark.parametrize("name", SAME_BITS)
def test_same_bits(rng, dtype, name):
    x = rng.normal(size=(70, 33)).astype(dtype)
    function = SAME_BITS[name]
    now = function(x)
    assert now.dtype == dtype
    assert np.array_equal(fastnn.compile(function)(x), now)


def test_batch_norm_moves_running_statistics_like_the_layer(rng):
    x = rng.normal(size=(20, 3)) * 2 + 1
    mean, var = np.zeros(3), np.ones(3)
    F.batch_norm(x, mean, var, training=True, momentum=0.2)
    np.testing.assert_allclose(mean, 0.2 * x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(var, 0.8 + 0.2 * x.var(axis=0, ddof=1), rtol=1e-12)
    buffers = [Parameter(np.zeros(3), buffer=True), Parameter(np.ones(3), buffer=True)]
    F.batch_norm(x, *buffers, training=True, momentum=0.2)
    assert np.array_equal(buffers[0].numpy(), mean) and np.array_equal(buffers[1].numpy(), var)
    y = F.batch_norm(x, *buffers)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-12)


def test_parameters_are_arrays_here(rng):
    weight, bias = Parameter(rng.normal(size=(4, 3))), Parameter(rng.normal(size=4))
    x = rng.normal(size=(5, 3))
    np.testing.assert_allclose(F.linear(x, weight, bias), x @ weight.numpy().T + bias.numpy(), rtol=1e-12)
    np.testing.assert_allclose(F.sum(F.square(weight)), (weight.numpy() ** 2).sum(), rtol=1e-12)
    np.testing.assert_allclose(x @ weight.T, x @ weight.numpy().T, rtol=1e-12)


def test_dtypes_follow_the_kernels(rng):
    x = rng.normal(size=4)
    assert F.relu(x.astype(np.float32)).dtype == np.float32
    assert F.relu(x).dtype == np.float64
    assert F.relu(np.arange(4)).dtype == np.float32
    with pytest.raises(TypeError):
        F.add(x, x.astype(np.float32))
    assert F.dropout(np.arange(4), 0.0).dtype == np.float32


def test_functional_imports_nothing_above_it():
    import subprocess
    import sys

    code = "import sys, fastnn.functional; print([m for m in sys.modules if m.startswith('fastnn')])"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "fastnn.kernels" in modules and "graph" not in modules and "nn.module" not in modules


def test_dropout_without_training_is_the_identity(rng):
    x = rng.normal(size=(3, 4))
    assert np.array_equal(F.dropout(x, 0.9, training=False), x)
    assert np.array_equal(fastnn.compile(lambda x: F.dropout(x, 0.9, training=False))(x), x)
    assert not F.dropout(x, 1.0, seed=1).any()
    assert not fastnn.compile(lambda x: F.dropout(x, 1.0))(x).any()


def test_models_of_functions_and_of_layers_agree(rng):
    class Net(nn.Module):
        def __init__(self):
            self.first = nn.Linear(4, 8)
            self.second = nn.Linear(8, 2)

        def forward(self, x):
            return F.softmax(self.second(F.relu(self.first(x)) + F.mean(x, axis=1, keepdims=True)))

    net = Net()
    x = rng.normal(size=(6, 4)).astype(np.float32)
    hidden = F.relu(F.linear(x, net.first.weight, net.first.bias)) + F.mean(x, axis=1, keepdims=True)
    expected = F.softmax(F.linear(hidden, net.second.weight, net.second.bias))
    np.testing.assert_allclose(net(x), expected, rtol=1e-6)


@pytest.mark.parametrize("exponent", [2, 3, 7, -1, -2, 0.5, 1.5, -2.5, 64, 1, 0, 2.2])
def test_powers_are_numpys(exponent, rng):
    x = rng.uniform(0.5, 2.0, (7, 5))
    expected = x**exponent
    np.testing.assert_allclose(F.power(x, exponent), expected, rtol=1e-14)
    np.testing.assert_allclose(fastnn.compile(lambda x: F.power(x, exponent))(x), expected, rtol=1e-13)
    out = x.astype(np.float32)
    assert kernels.power(out, exponent, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    gradient = fastnn.grad(lambda x: F.sum(F.power(x, exponent)))(x)
    np.testing.assert_allclose(gradient, exponent * x ** (exponent - 1), rtol=1e-12)
    with pytest.raises(TypeError, match="exponent is ndarray"):
        kernels.power(x, x)
