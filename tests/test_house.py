"""The import graph of the package: no circle of files, and no arrow up the order of rooms."""

import ast
from pathlib import Path

import pytest

import fastnn

ROOT = Path(fastnn.__file__).parent
#: each room may import those before it, and itself; a room that is not named here must be added
ROOMS = [
    {"_lazy", "_native", "hints", "__init__"}, {"validation"}, {"seeds", "threads"}, {"kernels"}, {"graph"},
    {"functional"},
    {"nn", "optim", "data"}, {"io", "plot"}, {"training"}, {"diagnostics", "jobs", "distributed"},
    {"ensemble", "search", "tabular", "sklearn"}, {"cli"}, {"__main__", "_stubs"},
]  # fmt: skip
#: (file, room) arrows that stand for now, each with its reason
ALLOWED = {
    ("fastnn.optim.lr_scheduler.base", "fastnn.plot.schedule"),  # a plot() method, on call
    ("fastnn.nn.signals", "fastnn.plot.signal"),  # a plot() method, on call
    ("fastnn.data.schema", "fastnn.io.atomic"),  # the one way to write a file
}


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(files):
    """{module: set of modules of the package that it imports anywhere, lazy names of packages followed}."""
    trees = {name: ast.parse(path.read_text()) for name, path in files.items()}
    lazy = {}
    for name, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_NAMES":
                if isinstance(node.value, ast.Dict):
                    lazy[name] = ast.literal_eval(node.value)

    def resolve(base, name):
        if f"{base}.{name}" in files:
            return f"{base}.{name}"
        if name in lazy.get(base, {}):
            return resolve(f"{base}.{lazy[base][name]}", name)
        return base

    found = {}
    for name, tree in trees.items():
        package = name if files[name].name == "__init__.py" else name.rpartition(".")[0]
        found[name] = edges = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                edges.update(resolve(base, alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                edges.update(alias.name for alias in node.names)
        edges &= files.keys() - {name}
    return found


def circles(edges):
    """Lists of modules that reach each other (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in edges[v]:
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            component = []
            while not component or component[-1] != v:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for v in edges:
        if v not in index:
            visit(v)
    return found


def room(name):
    part = name.split(".")[1] if "." in name else "__init__"
    return next((i for i, rooms in enumerate(ROOMS) if part in rooms), None)


@pytest.fixture(scope="module")
def edges():
    return imports({module_name(path): path for path in ROOT.rglob("*.py")})


def test_no_circle_of_imports(edges):
    assert not circles(edges)


def test_no_arrow_up_the_order_of_rooms(edges):
    assert all(room(name) is not None for name in edges), "a new room must be put into the order"
    wrong = [
        f"{name} -> {other}"
        for name, others in edges.items()
        for other in sorted(others)
        if name != "fastnn" and other != "fastnn" and room(other) > room(name) and (name, other) not in ALLOWED
    ]
    assert not wrong, wrong


def test_the_drawing_itself_finds_circles_and_arrows(tmp_path):
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert room("fastnn.cli.train") > room("fastnn.training.trainer") > room("fastnn.nn.linear") > room("fastnn.graph")


def test_the_kernels_are_usable_alone():
    import subprocess
    import sys

    code = "import sys, fastnn.kernels; print([m for m in sys.modules if m.startswith('fastnn')])"
    loaded = ast.literal_eval(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    assert all(name.split(".")[1:2] in ([], ["kernels"], ["_native"], ["_lazy"]) for name in loaded), loaded
