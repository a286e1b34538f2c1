"""What every source of a table offers, whatever it reads from: names of columns and blocks of typed columns."""

from collections.abc import Iterator

from .cells import NO_TIME, date_text, number_name
from .column import Block, NumberColumn, TextColumn

NUMBER, TEXT = "number", "text"


class Retype(Exception):
    """Columns that were to be read as numbers hold something else: they have to be read again, as text."""

    def __init__(self, positions):
        super().__init__(f"columns {sorted(positions)} are not numbers")
        self.positions = set(positions)


def as_texts(column) -> list[str]:
    """The cells of a column as texts, empty where missing."""
    if isinstance(column, TextColumn):
        return column.map(str, "", object).tolist()
    if isinstance(column, NumberColumn):
        return ["" if value != value else str(bool(value)) if column.truth else number_name(value)
                for value in column.values.tolist()]  # fmt: skip
    return ["" if micro == NO_TIME else date_text(micro, column.clock) for micro in column.micros.tolist()]


class Source:
    """A table that can be read as often as needed.

    Attributes
    ----------
    label : str
        What messages call it: the file's name, "the DataFrame", ….
    names : list of str
        Of the columns; different from each other.
    has_header : bool
        Whether the names come from the table (True) or are positions: c0, c1, ….
    notes : list of str
        What was noticed on opening it, one line each.
    cheap : bool
        Whether reading it twice costs less than keeping its columns (frames and arrays in memory).
    """

    label: str = "the table"
    names: list[str]
    has_header: bool = True
    cheap: bool = True

    def __init__(self) -> None:
        self.notes: list[str] = []

    def guess_kinds(self) -> list[str]:
        """`NUMBER` or `TEXT` for each column: how to read it at first. Sources that know their types ignore it."""
        return [TEXT] * len(self.names)

    def blocks(self, kinds: list[str | None]) -> Iterator[Block]:
        """Yield the table in blocks; columns of kind None are left out. `Retype` asks for other kinds."""
        raise NotImplementedError

    def raw_cells(self, positions: list[int]) -> list[list[str]]:
        """The cells of some columns as texts, whatever they mean."""
        kinds: list[str | None] = [TEXT if position in positions else None for position in range(len(self.names))]
        cells: list[list[str]] = [[] for _ in positions]
        for block in self.blocks(kinds):
            for held, position in zip(cells, positions):
                held += as_texts(block.columns[position])
        return cells

    def place(self, record: int) -> str:
        """Where a record is, for a message: "line 7" of a file, "row 5" of a frame (both as their editors count)."""
        return f"row {record}"

    def set_names(self, names: list[str]) -> None:
        """Take over names; empty and repeated ones become unique as pandas makes them, and are noted."""
        unique, seen, changed = [], set(), []
        counts: dict[str, int] = {}
        taken = set(names)
        for position, name in enumerate(names):
            new = name or f"Unnamed: {position}"
            if new in seen or (not name and new in taken):
                count = counts.get(new, 0)
                while (candidate := f"{new}.{count + 1}") in seen or candidate in taken:
                    count += 1
                counts[new] = count + 1
                changed.append(candidate)
                new = candidate
            seen.add(new)
            unique.append(new)
        self.names = unique
        if changed:
            self.notes.append(f"names that occur twice were numbered: {', '.join(map(repr, changed[:5]))}"
                              + (f" and {len(changed) - 5} more" if len(changed) > 5 else ""))  # fmt: skip

    def find(self, name) -> int:
        """Position of the column called `name`, else of the column at integer position `name`."""
        text = str(name)
        if text in self.names:
            return self.names.index(text)
        try:
            position = int(text)
        except ValueError:
            position = None
        if position is not None and -len(self.names) <= position < len(self.names):
            return position % len(self.names)
        from .cells import shorten

        hint = "" if self.has_header else " (the table is read without a header)"
        raise ValueError(f"{self.label} has no column {text!r}{hint}; its columns are: {shorten(self.names)}")
