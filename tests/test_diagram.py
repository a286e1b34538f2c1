"""model.diagram() and the output shapes of model.summary()."""

import re

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import nn


def parsed(text):
    """(direction, {id: label}, [(from, shape, to)]) of a flowchart; every line must be understood."""
    head, *lines = text.splitlines()
    boxes, arrows = {}, []
    for line in lines:
        box = re.fullmatch(r'    (n\d+)(?:\["([^"]*)"\]|\(\["([^"]*)"\]\))', line)
        arrow = re.fullmatch(r'    (n\d+) -->\|"([^"]*)"\| (n\d+)', line)
        assert box or arrow, line
        if box:
            boxes[box[1]] = box[2] or box[3]
        else:
            arrows.append((boxes[arrow[1]], arrow[2], boxes[arrow[3]]))
    return head, list(boxes.values()), arrows


def test_a_chain():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3))
    head, boxes, arrows = parsed(model.diagram())
    assert head == "flowchart TD"
    layers = ["x", "0: Linear(5, 7)", "1: ReLU()", "2: Dropout(p=0.5)", "3: Linear(7, 3)", "output"]
    shapes = ["(rows, 5)", "(rows, 7)", "(rows, 7)", "(rows, 7)", "(rows, 3)"]
    assert boxes == [layer for layer in layers if layer in boxes]
    assert ("0: Linear(5, 7)", "(rows, 7)", "1: ReLU()") in arrows and arrows[-1] == (layers[-2], shapes[-1], "output")


def test_branches_blocks_and_functions():
    class Net(nn.Module):
        def __init__(self):
            self.embed = nn.Embedding(10, 3)
            self.block = nn.Residual(nn.Linear(7, 7), nn.Tanh())
            self.out = nn.Linear(7, 2)

        def forward(self, labels, values):
            h = self.block(F.concatenate([self.embed(labels), values], axis=1))
            return self.out(h), F.mean(h, axis=1)

    x = np.zeros(1, np.int64), np.zeros((1, 4), np.float32)
    head, boxes, arrows = parsed(Net().diagram(x, direction="LR"))
    assert head == "flowchart LR"
    assert {"x0", "x1", "embed: Embedding(10, 3)", "concatenate", "block.0: Linear(7, 7)", "add", "output 0",
            "output 1"} <= set(boxes)  # fmt: skip
    assert ("concatenate", "(rows, 7)", "add") in arrows  # the shortcut
    assert ("block.1: Tanh()", "(rows, 7)", "add") in arrows
    assert arrows[-1][2] == "output 1"
    with pytest.raises(ValueError, match="give an input x"):
        nn.Sequential(nn.ReLU()).diagram()
    with pytest.raises(ValueError, match="direction must be 'TD'"):
        Net().diagram(x, direction="up")


def test_summary_has_the_shapes_of_outputs_without_an_input():
    model = nn.Sequential(nn.Scale(5), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    assert model.summary() == model.summary(np.zeros((1, 5)))
    assert "(rows, 7)" in model.summary() and "(rows, 3)" in model.summary()

    class Two(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 2)

        def forward(self, a, b):
            return self.layer(a) + self.layer(b)

    assert "rows" not in Two().summary()
    assert "(rows, 2)" in Two().summary((np.zeros((1, 3)), np.zeros((1, 3))))
    assert "rows" not in nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 1)).summary()
