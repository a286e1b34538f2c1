"""Every row of a native list has a kernel, a twin, a docstring and a benchmark case."""

import inspect
import sys
from pathlib import Path

import pytest
from reference import activations, elementwise, optimizers, pointwise_losses

from fastnn import _native, kernels

ROOT = Path(__file__).resolve().parent.parent
TWINS = {
    "activations": activations,
    "elementwise": elementwise,
    "binary": elementwise,
    "losses": pointwise_losses,
    "optimizers": optimizers,
}
ROWS = [(which, row) for which in TWINS for row in _native.list_rows(which)]
IDS = [f"{which}-{row['name']}" for which, row in ROWS]


@pytest.mark.parametrize(("which", "row"), ROWS, ids=IDS)
def test_row_has_a_documented_kernel(which, row):
    function = getattr(kernels, row["name"])
    assert row["doc"], "the row itself has no doc"
    assert "Parameters" in function.__doc__
    if which != "optimizers":
        assert row["doc"][1:] in function.__doc__
    names = set(inspect.signature(function).parameters)
    assert which == "optimizers" or set(row["params"]) <= names
    assert set(row["states"]) <= names


@pytest.mark.parametrize(("which", "row"), ROWS, ids=IDS)
def test_row_has_a_twin(which, row):
    assert callable(getattr(TWINS[which], row["name"], None)), f"tests/reference has no twin of {row['name']}"
    if which in ("activations", "losses"):
        assert callable(getattr(TWINS[which], row["name"] + "_derivative", None))
    if which == "activations":
        assert callable(getattr(kernels, row["name"] + "_backward"))
        assert row["cls"]


@pytest.mark.parametrize(("which", "row"), ROWS, ids=IDS)
def test_row_has_a_benchmark_case(which, row):
    folder = str(ROOT / "benchmarks")
    if not (ROOT / "benchmarks" / "cases.py").exists():
        pytest.skip("benchmarks are not part of this checkout")
    sys.path.insert(0, folder)
    try:
        import cases
    finally:
        sys.path.remove(folder)
    names = cases.case_names()
    assert row["name"] in names, f"no benchmark case for {row['name']}"


def test_every_native_op_is_declared_whole():
    for name, (code, pointers, dims, scalars, marks) in _native.ops().items():
        assert len(set(pointers)) == len(pointers) <= 8, name
        assert len(set(dims)) == len(dims) <= 19, name
        assert len(scalars) <= 16, name
        assert any("=" in marks[p] or "&" in marks[p] for p in pointers), f"{name} writes nothing"
        assert code >= 0


def test_factory_names_parameters_by_row():
    from fastnn.kernels._elementwise import make_backward, make_unary

    row = dict(
        _native.list_rows("activations")[0], params=("slope", "knee"), defaults=(0.5, 2.0), name="bent", doc="bent"
    )
    for function, positional in ((make_unary(row, "m"), ["x"]), (make_backward(row, "m"), ["grad", "x"])):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == [*positional, "slope", "knee", "out"]
        assert parameters["slope"].default == 0.5
        assert parameters["out"].kind is inspect.Parameter.KEYWORD_ONLY
        assert "slope : float, default 0.5" in function.__doc__
        with pytest.raises(TypeError, match=f"{function.__name__}.* unexpected keyword argument 'tilt'"):
            function(*[1.0] * len(positional), tilt=3)
    assert make_unary(row, "m")([1.5, -2.0], slope=0.1, knee=1.0).tolist() == [1.5, -2.0]
