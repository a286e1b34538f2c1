"""Words that the field does not use, and names that were replaced, do not come back."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: retired word -> what to write
RETIRED = {
    r"short way|careful (way|path)": "fast path, slow path",
    r"StepPlan|_step_plans": "cached step",
    r"is_visible|run_visible": "hooked",
    r"runs_behind": "allows_lookahead",
    r"on_pause\b": "on_poll",
    r"on_cut\b": "on_interrupt",
    r"\bchances\b": "probabilities",
    r"file_rows": "rows_read",
    r"size_curve": "learning_curve",
    r"bump_graph_version|graph_version\(": "revisions of what a trace has read",
    r"the lectures|the craft\b|the house\b": "the source, by author and year",
}
WHERE = ("fastnn", "docs", "tests", "examples", "README.md", "CONTRIBUTING.md")


def texts():
    listed = subprocess.run(["git", "ls-files", *WHERE], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.split() if listed.returncode == 0 else []
    if not names:  # a copy without git
        names = [str(path.relative_to(ROOT)) for part in WHERE for path in (ROOT / part).rglob("*")]
        names += [part for part in WHERE if (ROOT / part).is_file()]
    for name in names:
        path = ROOT / name
        if path.suffix in (".py", ".pxi", ".pyx", ".pxd", ".pyi", ".md") and path.is_file() and path != Path(__file__):
            yield name, path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sources():
    return dict(texts())


@pytest.mark.parametrize("word", RETIRED)
def test_retired_words_do_not_come_back(word, sources):
    found = [
        f"{name}:{number}"
        for name, text in sources.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(word, line, re.IGNORECASE)
    ]
    assert sources and not found, f"write: {RETIRED[word]}"
