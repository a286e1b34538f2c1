"""The commands of docs/command-line.md and of the README run as they stand and reach the scores beside them."""

import re
import shlex
from pathlib import Path

import pytest

from fastnn.cli import main
from fastnn.cli.options import make_parser
from fastnn.io import load_model_file

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "command-line.md"
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="this checkout has no docs")


def commands(text):
    """(command, what follows #) of every line in a code block without a language that begins with fastnn."""
    for block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block[1].replace("\\\n", " ").splitlines() if not block[0] else ():
            if line.startswith("fastnn "):
                command, _, told = line.partition("#")
                yield command.strip(), told.strip()


def prepared():
    """The tables that the page makes, run as they stand."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, "docs/command-line.md", "exec"), {})
    text = Path("flats.csv").read_text()
    Path("houses.csv").write_text(text.replace("rent", "price"))
    Path("new.csv").write_text(text.replace("rent", "price"))


def run(command, told, capsys):
    words = shlex.split(command)[1:]
    if "--idx-dir" in words:  # files that are not here
        assert main(words) == 2
        return
    assert main([*words, *(["--no-plot"] if words[0] == "train" else [])]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    wanted = re.fullmatch(r"(\w+) (\w+) >= ([\d.]+)", told)
    if wanted:
        path = re.search(r"^model +(\S+)$", out, re.MULTILINE)[1]
        score = load_model_file(path).training["results"][wanted[1]][wanted[2]]
        assert score >= float(wanted[3]), f"{command}: {score}"


@pytest.mark.slow
def test_the_commands_of_the_guide_reach_their_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepared()
    found = list(commands(PAGE.read_text(encoding="utf-8")))
    assert sum(">=" in told for _, told in found) >= 9
    for command, told in found:
        run(command, told, capsys)


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepared()
    if "plot" in README.read_text(encoding="utf-8"):
        pytest.importorskip("matplotlib")
    for command, told in commands(README.read_text(encoding="utf-8")):
        run(command, told, capsys)


def test_the_first_command_learns_the_first_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepared()
    run("fastnn train flats.csv --target rent --epochs 60 -o m", "test r2 >= 0.95", capsys)


def test_the_guide_names_every_option():
    text = PAGE.read_text(encoding="utf-8")
    _, parsers = make_parser()
    options = {name for parser in parsers.values() for action in parser._actions for name in action.option_strings}
    missing = {name for name in options if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)}
    assert missing - {"-h", "--no-batch-norm"} == set()
