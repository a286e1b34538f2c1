"""diagnostics.curvature against NumPy's eigenvalues of Hessians made by finite differences, and known surfaces."""

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn, optim
from fastnn.diagnostics import curvature
from fastnn.diagnostics.curvature import lanczos


@pytest.mark.parametrize(
    "function, at, kind, ends, condition",
    [
        (lambda x: x[0] ** 2 + 4.0 * x[1] ** 2 + x[2] ** 2, np.zeros(3), "minimum", (2, 8), 4),
        (lambda x: -(x[0] ** 2) - 4.0 * x[1] ** 2, np.ones(2), "maximum", (-8, -2), 4),
        (lambda x: x[0] ** 2 - 3.0 * x[1] ** 2, np.zeros(2), "saddle", (-6, 2), 3),
        (lambda x: x[0] ** 2 + 0.0 * x[1], np.zeros(2), "flat minimum", (0, 2), np.inf),
        (lambda x: 0.0 * F.sum(x), np.zeros(4), "flat", (0, 0), np.inf),
        (lambda x: (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2, np.ones(2), "minimum", None, 2508.0),
    ],
)
def test_known_surfaces(function, at, kind, ends, condition):
    """The last is Rosenbrock's valley: its Hessian at the minimum has the condition number 2508."""
    report = curvature(function, at)
    assert report.kind == kind and report.complete
    if ends is not None:
        np.testing.assert_allclose([report.smallest, report.largest], ends, atol=1e-12)
    np.testing.assert_allclose(report.condition_number, condition, rtol=1e-3)
    assert kind in str(report)


def numeric_hessian(objective, arrays, h=1e-4):
    """From the objective's gradients, one coordinate at a time."""
    rows = []
    for array in arrays:
        flat = array.reshape(-1)
        for i in range(flat.size):
            here = flat[i]
            ends = []
            for step in (h, -h):
                flat[i] = here + step
                ends.append(np.concatenate([g.ravel() for g in objective.gradients()]))
            flat[i] = here
            rows.append((ends[0] - ends[1]) / (2 * h))
    hessian = np.stack(rows)
    return 0.5 * (hessian + hessian.T)


def small_trainer(**options):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Dropout(0.25), nn.Linear(4, 2), seed=3)
    return fastnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(lr=0.1, **options), seed=1)


def test_a_whole_trainer(rng):
    from fastnn.diagnostics.gradcheck import in_float64, objective_of

    x, y = rng.normal(size=(20, 3)).astype(np.float32), rng.integers(0, 2, 20)
    trainer = small_trainer(weight_decay=0.05)
    before = {name: value.copy() for name, value in trainer.model.state_dict().items()}
    report = curvature(trainer, x, y)
    with in_float64(trainer.model):
        objective = objective_of(trainer, x, y)
        exact = np.linalg.eigvalsh(numeric_hessian(objective, objective.arrays))
    assert report.complete and report.parameters == 34
    np.testing.assert_allclose(report.eigenvalues, exact, atol=1e-7 * exact[-1])
    plain = curvature(small_trainer(), x, y)
    assert abs(report.smallest - plain.smallest) > 1e-3  # the decay is part of it
    assert all(np.array_equal(before[name], value) for name, value in trainer.model.state_dict().items())
    assert trainer.model.dtype == np.float32 and trainer.step == 0


def test_only_the_ends_of_a_larger_model(rng):
    model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3), seed=0)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 3))
    from fastnn.graph.objective import Objective

    objective = Objective(model, (x, y), nn.MSELoss())
    exact, vectors = np.linalg.eigh(numeric_hessian(objective, objective.arrays))
    report = curvature(model, x, y, loss=nn.MSELoss(), products=60)
    assert not report.complete and report.products <= 60
    assert abs(report.largest - exact[-1]) <= max(report.largest_error, 1e-6 * exact[-1])
    assert abs(report.smallest - exact[0]) <= report.smallest_error + 1e-6 * exact[-1]
    gradient = np.concatenate([g.ravel() for g in objective.gradients()])
    assert abs(report.gradient_norm - np.linalg.norm(gradient)) < 1e-12
    if report.smallest_error < 1e-4 * (exact[1] - exact[0]):
        assert abs(report.direction @ vectors[:, 0]) > 0.999


def test_lanczos_finds_multiplicities(rng):
    q = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    spectrum = np.array([-2.0, -2, 0, 0, 0, 1, 1, 3, 3, 3, 7, 7])
    matrix = q @ np.diag(spectrum) @ q.T
    values, weights, residuals, basis = lanczos(lambda v: matrix @ v, 12, 12)
    np.testing.assert_allclose(values, spectrum, atol=1e-10)
    np.testing.assert_allclose(basis @ basis.T, np.eye(12), atol=1e-12)
    assert residuals.max() < 1e-10
    early = lanczos(lambda v: np.arange(1.0, 501.0) ** 2 * v, 500, 400, 1e-3)
    assert len(early[0]) < 400 and abs(early[0][-1] - 250_000) < 1e-3 * 250_000


def test_what_it_refuses(rng):
    with pytest.raises(ValueError, match="integer >= 1"):
        curvature(lambda x: x**2, 1.0, products=0)
    with pytest.raises(TypeError, match="with its own loss"):
        curvature(small_trainer(), rng.normal(size=(4, 3)), np.zeros(4, int), loss=nn.MSELoss())
    with pytest.raises(ValueError, match="not finite"):
        curvature(lambda x: F.log(x), 0.0)
