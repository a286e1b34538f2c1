"""autograd_table: the lecture's numbers in both modes, and the chain rule in every table."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn, optim


def steps(w, x):
    """-log(1 / (1 + exp(-w x))), one operation at a time."""
    return -F.log(1.0 / (1.0 + F.exp(-(w * x))))


def by_name(table):
    return {row.variable: row for row in reversed(table.rows)}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("function", [steps, lambda w, x: -F.log(F.sigmoid(w * x))])
def test_worked_example(mode, function):
    """y = 1, W = X = 3: loss 1.234021897e-4, dL/dW = -3.701837279587e-4."""
    table = fastnn.autograd_table(function, 3, 3.0, mode=mode)
    assert abs(table.value - 1.234021897e-4) < 5e-14
    assert abs(table.gradients["w"] - -3.701837279587e-4) < 5e-16
    assert table.gradients["x"] == table.gradients["w"]


def test_every_line_of_the_worked_example():
    """The lecture's columns at W = X = 3, e = exp(-9): value, value of the local derivative, running derivative."""
    e = np.exp(-9.0)
    expected = {
        "x1": (9, 3, 3),
        "x2": (-9, -1, -3),
        "x3": (e, e, -3 * e),
        "x4": (1 + e, 1, -3 * e),
        "x5": (1 / (1 + e), -1 / (1 + e) ** 2, 3 * e / (1 + e) ** 2),
        "x6": (-np.log1p(e), 1 + e, 3 * e / (1 + e)),
        "L": (np.log1p(e), -1, -3 * e / (1 + e)),
    }
    rows = by_name(fastnn.autograd_table(steps, 3.0, 3.0, mode="forward"))
    for name, (value, partial, running) in expected.items():
        np.testing.assert_allclose(rows[name].value, value, rtol=1e-11)
        np.testing.assert_allclose(rows[name].partial, partial, rtol=1e-12)
        np.testing.assert_allclose(rows[name].running["w"], running, rtol=1e-12)
    back = by_name(fastnn.autograd_table(steps, 3.0, 3.0))
    for name, running in {"L": 1, "x6": -1, "x5": -(1 + e), "x4": 1 / (1 + e), "x3": 1 / (1 + e)}.items():
        np.testing.assert_allclose(back[name].running["L"], running, rtol=1e-12)
    assert [row.variable for row in fastnn.autograd_table(steps, 3.0, 3.0).rows][0] == "L"


def test_text_and_html():
    table = fastnn.autograd_table(lambda w, x: F.exp(w * x) / x, 2.0, 0.5)
    lines = str(table).splitlines()
    assert lines[0].split()[:2] == ["variable", "is"] and "dL/dvariable" in lines[0]
    assert lines[2].split()[:7] == ["L", "x2", "/", "x", "x2", "1", "/"]
    assert any("-x2 / x^2" in line for line in lines)
    page = table.to_html()
    assert page == table._repr_html_() and page.count("<tr>") == len(table.rows) + 1
    assert "<td>exp(x1)</td>" in page and "<script" not in page
    odd = fastnn.autograd_table(lambda a: F.maximum(a, 0.5), 1.0)
    assert "[a &gt;= 0.5]" in odd.to_html()
    wide = str(fastnn.autograd_table(lambda w, x: w * x, 2.0, 0.5, mode="forward")).splitlines()
    assert wide[0].split()[-2:] == ["d/dw", "d/dx"]


def random_net(w, b, x):
    h = F.tanh(x @ w + b)
    shared = F.concatenate([h, h * b], axis=1)
    return F.mean(F.square(shared)) + F.log(1.0 + F.sum(F.exp(h)))


def test_arrays_agree_with_grad_and_with_the_chain_rule(rng):
    w, b, x = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=(2, 3))
    table = fastnn.autograd_table(random_net, w, b, x)
    exact = fastnn.grad(random_net, (0, 1, 2))(w, b, x)
    for name, gradient in zip("wbx", exact, strict=True):
        np.testing.assert_allclose(table.gradients[name], gradient, rtol=1e-12, atol=1e-14)
    direction = [rng.normal(size=a.shape) for a in (w, b, x)]
    forward = fastnn.autograd_table(random_net, w, b, x, mode="forward", tangents=direction)
    for name, gradient, v in zip("wbx", exact, direction, strict=True):
        np.testing.assert_allclose(forward.gradients[name], (gradient * v).sum(), rtol=1e-11)
    rows = by_name(table)
    for name in "wbx":  # the adjoint of an argument is the sum over its consumers: adjoint times local derivative
        total = 0.0
        for row in table.rows:
            if row.input != name:
                continue
            adjoint, partial = row.running["L"], row.partial
            if partial.shape == adjoint.shape:
                total = total + adjoint * partial
            else:
                total = total + np.tensordot(adjoint, partial, adjoint.ndim)
        np.testing.assert_allclose(total, rows[name].running["L"], rtol=1e-11, atol=1e-14)


def test_nested_arguments_labels_constants_and_parameters(rng):
    weight = fastnn.Parameter(rng.normal(size=3), name="weight")

    def loss(p, labels):
        return F.cross_entropy(p["z"] * weight, labels) * p["scale"][0]

    table = fastnn.autograd_table(loss, {"z": rng.normal(size=(2, 3)), "scale": [2.0]}, np.array([0, 2]))
    assert set(table.gradients) == {"p[0]", "p[1]"}
    assert any(row.expression == "p[0] * weight" for row in table.rows)
    constant = fastnn.autograd_table(lambda x: x * 0.0 + 3.0, 2.0)
    assert constant.value == 3.0 and constant.gradients["x"] == 0.0
    itself = fastnn.autograd_table(lambda x: x, 2.0)
    assert itself.gradients["x"] == 1.0 and len(itself.rows) == 1


def test_what_it_refuses():
    with pytest.raises(ValueError, match='"forward" or "reverse"'):
        fastnn.autograd_table(steps, 1.0, 1.0, mode="both")
    with pytest.raises(ValueError, match="only one number has a gradient"):
        fastnn.autograd_table(lambda x: x * 2.0, np.ones(2))
    with pytest.raises(ValueError, match="one tensor, it returned 2"):
        fastnn.autograd_table(lambda x: (x, x), 1.0)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        fastnn.autograd_table(lambda x: x, np.arange(3))
    with pytest.raises(ValueError, match="tangents= are"):
        fastnn.autograd_table(lambda x: x, 1.0, tangents=(1.0,))
    with pytest.raises(ValueError, match="the tangent of x has shape"):
        fastnn.autograd_table(lambda x: F.sum(x), np.ones(3), mode="forward", tangents=(np.ones(2),))


# ---- modules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_module_has_rows_for_layers_and_parameters(dtype, rng):
    """A float32 model failed, and parameters had no rows."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2), seed=1).to(dtype)
    x, y = rng.normal(size=(4, 2)), np.array([0, 1, 1, 0])
    table = fastnn.autograd_table(model, x, y, nn.CrossEntropyLoss())
    rows = by_name(table)
    assert list(rows)[-1] == "L" and {"0.out", "1.out", "2.out", "0.weight", "0.bias", "2.weight", "x"} <= set(rows)
    assert rows["1.out"].expression == "tanh(0.out)"
    assert rows["2.out"].expression == "1.out @ 2.weight^T + 2.bias"
    trainer = fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.0))
    found = {}
    trainer.gradient_hook = lambda gradients: found.update({k: v.copy() for k, v in gradients.items()})
    assert table.value == pytest.approx(trainer.train_step(x, y), rel=1e-6)
    for name, gradient in found.items():
        np.testing.assert_allclose(table.gradients[name], gradient, rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(rows[name].running["L"], table.gradients[name])
    assert "target" not in table.gradients
    again = fastnn.autograd_table(model, x, y, loss=nn.CrossEntropyLoss(), mode="forward")
    assert again.value == table.value


def test_a_module_of_any_layers_is_recorded(rng):
    model = nn.Sequential(
        nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.5),
        nn.Residual(nn.Linear(3, 3), nn.SiLU()), nn.Linear(3, 1), seed=1,
    )  # fmt: skip
    model[0].weight.requires_grad = False
    table = fastnn.autograd_table(model, rng.normal(size=(4, 2)), np.ones((4, 1)), nn.MSELoss())
    assert "0.weight" not in table.gradients and {"1.weight", "4.0.weight", "5.bias"} <= set(table.gradients)
    assert {"4.0.out", "4.1.out", "4.out"} <= set(by_name(table))
    plain = fastnn.autograd_table(nn.Sequential(nn.Linear(2, 1)), rng.normal(size=(1, 2)))
    assert set(plain.gradients) == {"x", "0.weight", "0.bias"}
    with pytest.raises(TypeError, match="loss= is for modules"):
        fastnn.autograd_table(lambda x: x, 1.0, loss=nn.MSELoss())
    with pytest.raises(ValueError, match="needs inputs and a target"):
        fastnn.autograd_table(model, np.ones((1, 2)), loss=nn.MSELoss())
