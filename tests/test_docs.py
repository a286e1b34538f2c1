"""The examples of docs/*.md run as they stand; what the pages list exists."""

import re
from pathlib import Path

import pytest

import fastnn
from fastnn import _native, nn, optim
from fastnn import functional as F

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))} if DOCS.exists() else {}
WITH_CODE = [name for name, text in PAGES.items() if "```python" in text]


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_CODE)
def test_examples_run(name, tmp_path, monkeypatch):
    """All blocks of a page in order, in one namespace."""
    if any("savefig" in block or ".plot(" in block for block in blocks(PAGES[name])):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for i, block in enumerate(blocks(PAGES[name])):
        exec(compile(block, f"docs/{name}.md, block {i}", "exec"), namespace)


def named(page):
    """Names of the classes in the first columns of a page's tables."""
    rows = re.findall(r"^\| (`.*?) \|", PAGES[page], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)\(", row)}


@pytest.mark.skipif(not PAGES, reason="this checkout has no docs")
def test_pages_list_what_there_is():
    layers = named("layers")
    assert {row["cls"] for row in _native.list_rows("activations")} <= layers
    assert all(hasattr(nn, name) for name in layers)
    public = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    losses = named("losses")
    assert {row["cls"] for row in _native.list_rows("losses")} <= losses
    base = {"Module", "ModuleList", "ModuleDict", "Loss", "PointwiseLoss", "Parameter"}
    assert public - base <= layers | losses
    assert {name for name in public if issubclass(getattr(nn, name), nn.Loss)} - base <= losses
    known = set(optim.lr_scheduler.__all__) - {"Schedule"}
    assert known - {"ReduceLROnPlateau"} <= named("schedules")
    kinds = [getattr(optim, name) for name in optim.__all__]
    kinds = {kind.__name__ for kind in kinds if isinstance(kind, type) and issubclass(kind, optim.Optimizer)}
    missing = {kind for kind in kinds - {"Optimizer"} if f"`{kind}" not in PAGES["optimizers"]}
    assert not missing


@pytest.mark.skipif(not PAGES, reason="this checkout has no docs")
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_tables_of_the_chain_rule(mode):
    table = fastnn.autograd_table(lambda w, x: -F.log(F.sigmoid(w * x)), 3.0, 3.0, mode=mode)
    assert f"```\n{table}\n```" in PAGES["autograd"]
