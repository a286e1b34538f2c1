"""Tables for tests, and the comparison of the two readers."""

import os

import numpy as np

from fastnn.data.cells import is_null_word, parse_number
from fastnn.data.column import NumberColumn
from fastnn.data.source import TEXT, Retype
from fastnn.data.text_source import TextSource

PEOPLE = """age, job, income, buys
31, baker, 2500.5, yes
45, judge, 4100, no
?, baker, 2300, no
28, pilot, , yes
"""


def cells_by_reader(path, reader, form):
    """(names, kinds, columns of plain values) of a text file, or the text of the error."""
    try:
        source = TextSource(path, **{**form, "reader": reader})
        kinds = source.guess_kinds()
        while True:
            try:
                blocks = list(source.blocks(kinds))
                break
            except Retype as wrong:
                for position in wrong.positions:
                    kinds[position] = TEXT
        columns = []
        for position in range(len(kinds)):
            cells = []
            for block in blocks:
                column = block.columns[position]
                if isinstance(column, NumberColumn):
                    cells += [None if v != v else v for v in column.values.tolist()]
                else:
                    cells += column.map(lambda word: word, None, object).tolist()
            columns.append(cells)
        return source.names, kinds, columns
    except (ValueError, OSError) as error:
        return str(error)


def assert_readers_agree(path, form):
    """Both readers see the same cells in a file, or refuse it with the same words."""
    if not os.path.isfile(path):
        return
    csv, arrow = (cells_by_reader(path, reader, form) for reader in ("csv", "pyarrow"))
    if isinstance(csv, str) or isinstance(arrow, str):
        assert csv == arrow
        return
    assert csv[0] == arrow[0]
    decimal = form.get("decimal", ".")
    for kinds, columns in zip(zip(csv[1], arrow[1]), zip(csv[2], arrow[2])):
        if kinds[0] != kinds[1]:  # a column of numbers that one reader takes for text means the same
            columns = [[_as_number(cell, decimal) for cell in cells] for cells in columns]
        assert columns[0] == columns[1]


def _as_number(cell, decimal):
    if not isinstance(cell, str):
        return cell
    return None if is_null_word(cell) else parse_number(cell, decimal)


def write_numbers(path, rows, columns, seed=0):
    """A CSV file of random numbers with a target of two classes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, columns))
    with open(path, "w") as file:
        file.write(",".join([*(f"f{i}" for i in range(columns)), "y"]) + "\n")
        for row, label in zip(values, rng.integers(0, 2, rows)):
            file.write(",".join([*(f"{v:.6g}" for v in row), "ny"[label]]) + "\n")
    return values


