"""The scripts of examples/ run, write their picture, and show what they claim."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"

# Script -> what its printed figures must show.
CLAIMS = {
    "goalkeeper": lambda v: v[1] < 0.2 * v[0],  # loss with batch norm, without
    "initialisations": lambda v: v[1] < 1e-10 and 0.5 < v[11] < 2 and 0.9 < v[13] < 1.1,
    "one_over_k": lambda v: v[1] < 1.2 * v[0] / 16 < v[3],  # 1/K for independent samples, less for bagging
    "bagged_perceptrons": lambda v: v[2] < v[1] < v[0],  # the average beats the best on validation
    "practice": lambda v: v[0] < min(v[1:3]) and max(v[1:3]) < v[3],  # batch norm and dropout help, and help together
    "selu_or_batch_norm": lambda v: v[3] < v[0] < v[6] and v[4] == np.inf and v[7] < 0.5 * v[1],
    "sparse_inputs": lambda v: max(v[2], v[4]) < v[0] and v[1] < 0.8 < min(v[3], v[5]),
    "two_neurons": lambda v: v[1] == 0.0 and abs(v[2] - v[3]) < 0.1 * v[3],
    "optimizers_race": lambda v: v[3] < v[1] and min(v[1::2]) == v[11],  # momentum beats SGD on digits, Adam all
}
NUMBERS = {
    "goalkeeper": r"steps (\S+)",
    "initialisations": r"layer \d+ (\S+?)(?:,|$)",
    "one_over_k": r"(?:one model|average of 16) (\S+?)(?:,|$)",
    "bagged_perceptrons": r"error (\S+)",
    "practice": r"accuracy (\S+) %",
    "selu_or_batch_norm": r"loss (\S+?)(?:,| at|$)",
    "sparse_inputs": r"(?:loss|words) ([\d.]+)",
    "two_neurons": r"neuron ([\d.]+)",
    "optimizers_race": r"(?:steps|epochs) (\S+?)(?:,|$)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_example(name, tmp_path):
    pytest.importorskip("matplotlib")
    if not FOLDER.exists():
        pytest.skip("this checkout has no examples")
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    run = subprocess.run([sys.executable, str(FOLDER / f"{name}.py")], cwd=tmp_path, env=environment, text=True,
                         capture_output=True)  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    values = [float(text) for text in re.findall(NUMBERS[name], run.stdout, re.MULTILINE)]
    assert CLAIMS[name](values), run.stdout


def test_every_example_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} <= set(CLAIMS)
