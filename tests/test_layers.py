"""Layers of the Python packages: each imports only those below it, and imports stay cheap."""

import subprocess
import sys

import pytest


def modules_after(statement):
    """Names in sys.modules of a fresh interpreter after the statement, less those of ``import numpy``."""
    code = f"import sys, numpy; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_kernels_import_nothing_above_them():
    loaded = {name for name in modules_after("import fastnn.kernels") if name.startswith("fastnn")}
    allowed = ("fastnn", "fastnn._lazy", "fastnn._native", "fastnn.kernels")
    stray = {name for name in loaded if name not in allowed and not name.startswith("fastnn.kernels.")}
    assert not stray, f"fastnn.kernels also imported {sorted(stray)}"


@pytest.mark.parametrize("statement", ["import fastnn", "import fastnn.kernels", "import fastnn; fastnn.kernels.relu"])
def test_import_is_lazy(statement):
    loaded = modules_after(statement)
    heavy = {"tqdm", "safetensors", "matplotlib", "sklearn", "scipy", "torch", "pandas", "dataclasses", "inspect"}
    heavy |= {"typing_extensions", "argparse", "json", "urllib", "multiprocessing", "asyncio", "concurrent.futures"}
    assert not loaded & heavy, f"{statement!r} also imported {sorted(loaded & heavy)}"


def test_import_fastnn_loads_nothing_of_itself():
    assert {name for name in modules_after("import fastnn") if name.startswith("fastnn")} == {"fastnn", "fastnn._lazy"}


@pytest.mark.parametrize("name", ["ReLU", "MSELoss", "losses", "activations", "init", "Linear", "Parameter"])
def test_any_name_of_nn_may_be_the_first(name):
    """Names made from the lists come from modules that nn itself imports on first use."""
    assert "fastnn.nn" in modules_after(f"from fastnn import nn; nn.{name}")


def test_every_kernel_is_public_and_documented():
    from fastnn import kernels

    for name in kernels.__all__:
        function = getattr(kernels, name)
        assert function.__name__ == name
        assert function.__doc__ and len(function.__doc__) > 40, name
        assert function.__module__.startswith("fastnn.kernels"), name


def test_stub_matches_the_extension():
    """fastnn/_native.pyi names exactly what the extension module has."""
    import ast
    from pathlib import Path

    from fastnn import _native

    stub = Path(_native.__file__).parent / "_native.pyi"
    found = {}
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            body = getattr(node, "body", [])
            members = {m.name for m in body if isinstance(m, ast.FunctionDef)}
            members |= {m.target.id for m in body if isinstance(m, ast.AnnAssign)}
            found[node.name] = members if isinstance(node, ast.ClassDef) else None
    public = {n for n in dir(_native) if not n.startswith("_") and callable(getattr(_native, n))}
    assert public == set(found)
    for name, members in found.items():
        if members is not None:
            actual = {m for m in dir(getattr(_native, name)) if not m.startswith("_")}
            assert actual == {m for m in members if not m.startswith("_")}, name
