"""Types: users' code passes the checkers, made names have stubs, and the stubs are those of the objects."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import _stubs

ROOT = Path(fastnn.__file__).parent
PAGES = sorted((Path(__file__).parent / "typing").glob("*.py"))


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A copy of the package's Python files with freshly written stubs."""
    import shutil

    folder = tmp_path_factory.mktemp("typed") / "fastnn"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    _stubs.write(folder)
    return folder


def test_every_attached_and_every_made_name_has_a_stub(typed):
    for path in ROOT.rglob("__init__.py"):
        attachments = _stubs.attached(path.read_text())
        if attachments is None:
            continue
        stub = ast.parse((typed / path.relative_to(ROOT)).with_suffix(".pyi").read_text())
        names = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        package = importlib.import_module(".".join(path.parent.relative_to(ROOT.parent).parts))
        assert set(package.__all__) - {"__version__"} <= names, package
    for module in _stubs.MADE:
        stub = ast.parse((typed.parent / Path(*module.split("."))).with_suffix(".pyi").read_text())
        names = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        made = importlib.import_module(module)
        assert set(getattr(made, "CLASSES", None) or made.__all__) <= names, module
    assert "class ReLU(Module)" in (typed / "nn" / "activations.pyi").read_text()
    assert "def huber_loss(input: Any, target: Any, *" in (typed / "functional.pyi").read_text()


def public_functions(tree):
    """(name, node) of the functions and methods of a module that a user may call."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and (not inner.name.startswith("_") or inner.name == "__init__"):
                    yield f"{node.name}.{inner.name}", inner


def test_public_functions_are_annotated():
    missing = []
    rooms = [p for room in ("nn", "optim", "io") for p in (ROOT / room).rglob("*.py")]
    rooms += [ROOT / name for name in ("functional.py", "seeds.py", "threads.py")]
    rooms += [ROOT / "graph" / f"{name}.py" for name in ("parameter", "transforms", "program", "tensor")]
    for path in rooms:
        for name, node in public_functions(ast.parse(path.read_text())):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in given if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or node.returns is None:
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not [text for text in missing if not text.startswith("nn/meaning")], missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_run(page):
    code = compile(page.read_text(), str(page), "exec")
    exec(code, {"__name__": page.stem})


@pytest.mark.slow
def test_mypy_strict_on_users_code(typed):
    pytest.importorskip("mypy")
    options = ["--strict", "--follow-imports=silent", "--no-incremental"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, PAGES)]
    done = subprocess.run(command, cwd=typed.parent, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_pyright_on_users_code(typed):
    pytest.importorskip("pyright")
    import json
    import shutil

    folder = typed.parent / "users"
    shutil.copytree(PAGES[0].parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"include": ["."], "extraPaths": [".."], "typeCheckingMode": "standard"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
