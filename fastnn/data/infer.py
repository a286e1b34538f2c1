"""From summaries to a schema, strictly: what could be meant in two ways is refused, with the words that settle it."""

import re
import shlex

from .cells import looks_like_disguised_number, number_name, parse_date, parse_number, parse_truth, shorten
from .schema import KINDS, ColumnSchema, TableSchema
from .summary import MOST_DISTINCT, ColumnSummary

TASKS = ("auto", "classification", "regression")
MAX_CATEGORIES = 100

# Whole-number targets with up to this many values are taken for classes.
MAX_CLASS_NUMBERS = 20

_ID_NAME = re.compile(r"(^|[_\W])(?i:id|idx|index|uuid|guid|key|rowid|row|nr|no)$|[a-z](Id|ID)$")
_UNNAMED = re.compile(r"Unnamed: \d+|__index_level_\d+__")
_SOME_ROWS = 20  # fewer rows say little about what never repeats


def named_like_an_identifier(name: str) -> bool:
    """id, user_id, userId, Unnamed: 0, …"""
    return _ID_NAME.search(name) is not None or _UNNAMED.fullmatch(name) is not None


class SchemaError(ValueError):
    """Columns whose meaning has to be said.

    Attributes
    ----------
    label : str
        What was read.
    problems : list of Problem
    """

    def __init__(self, label: str, problems: list["Problem"], call):
        self.label, self.problems = label, problems
        super().__init__(f"{label}: {describe_problems(problems)}: {call(problems)}")


class Problem:
    """One column: what is wrong, and the ways out as ``{"types": {…}}``, ``{"na": […]}`` or ``{"ignore": […]}``."""

    __slots__ = ("text", "ways")

    def __init__(self, text: str, *ways: tuple[str, dict]):
        self.text, self.ways = text, ways


def describe_problems(problems: list[Problem]) -> str:
    shown = "; ".join(problem.text for problem in problems[:4])
    more = f"; and {len(problems) - 4} more columns" if len(problems) > 4 else ""
    return f"{shown}{more}. Say which it is"


def merged_ways(problems: list[Problem]) -> list[tuple[str, dict]]:
    """Answers to all problems at once, each with what it means: the first way of every column, then the second."""
    answers = []
    for choice in range(max(len(problem.ways) for problem in problems)):
        meanings, answer = [], {"types": {}, "na": [], "ignore": [], "decimal": None}
        for problem in problems:
            meaning, way = problem.ways[min(choice, len(problem.ways) - 1)]
            if meaning not in meanings:
                meanings.append(meaning)
            answer["types"].update(way.get("types", {}))
            answer["decimal"] = way.get("decimal", answer["decimal"])
            for key in ("na", "ignore"):
                answer[key] += [item for item in way.get(key, ()) if item not in answer[key]]
        answers.append((" and ".join(meanings), answer))
    return answers


def python_call(function: str, subject: str, given: dict):
    """A function that spells the call to paste for some problems."""

    def call(problems):
        texts = []
        for meaning, answer in merged_ways(problems):
            options = dict(given)
            if answer["decimal"]:
                options["decimal"] = answer["decimal"]
            if answer["types"]:
                options["types"] = {**options.get("types", {}), **answer["types"]}
            for key in ("na", "ignore"):
                if answer[key]:
                    options[key] = [*options.get(key, ()), *answer[key]]
            said = "".join(f", {name}={value!r}" for name, value in options.items())
            texts.append(f"{meaning}: {function}({subject}{said})")
        return ", or ".join(texts)

    return call


def command_line(words: list[str]):
    """The same for a command: `words` are what was typed, ``["fastnn", "train", …]``."""

    def call(problems):
        texts = []
        for meaning, answer in merged_ways(problems):
            extra = [part for name, kind in answer["types"].items() for part in ("--type", f"{name}={kind}")]
            extra += ["--decimal", answer["decimal"]] if answer["decimal"] else []
            extra += [part for word in answer["na"] for part in ("--na", word)]
            extra += [part for name in answer["ignore"] for part in ("--type", f"{name}=ignored")]
            texts.append(f"{meaning}: {shlex.join([*words, *extra])}")
        return ", or ".join(texts)

    return call


class Inference:
    """Decides the kind of every column.

    Parameters
    ----------
    source : Source
    options : dict
        ``target`` (position or None), ``types`` (position -> kind), ``task``, ``max_categories``, ``decimal``, ``na``.
    call : callable
        Spells the way out of problems; see `python_call` and `command_line`.
    """

    def __init__(self, source, options: dict, call):
        self.source, self.options, self.call = source, options, call
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def schema(self, summaries: list[ColumnSummary | None]) -> TableSchema:
        columns = [self._column(position, summary) for position, summary in enumerate(summaries)]
        if self.problems:
            raise SchemaError(self.source.label, self.problems, self.call)
        schema = TableSchema(columns, header=self.source.has_header, decimal=self.options["decimal"],
                             na=sorted(self.options["na"]))  # fmt: skip
        if not schema.features:
            raise ValueError(f"{self.source.label} has no column left to learn from")
        self._note_left_out(columns)
        return schema

    def _column(self, position, summary) -> ColumnSchema | None:
        name = self.source.names[position]
        stated = self.options["types"].get(position)
        if position == self.options["target"]:
            return self._target(name, summary)
        if stated in ("ignored", "identifier"):
            return ColumnSchema(name, stated)
        if stated is not None:
            return self._stated(name, stated, summary)
        if not summary.present:
            return ColumnSchema(name, "ignored", why="empty in every row")
        return self._inferred(name, summary)

    # ---- features

    def _inferred(self, name, summary) -> ColumnSchema | None:
        present = summary.present
        if summary.times:
            return self._date(name, summary)
        if summary.truths == present:
            return ColumnSchema(name, "boolean")
        if summary.declared:
            return self._stated(name, "categorical", summary)
        if _is_identifier(name, summary):
            return ColumnSchema(name, "identifier")
        if summary.numbers == present:
            return self._numeric(name, summary)
        if 2 * summary.numbers >= present:
            return self._nearly_numeric(name, summary)
        words = summary.words
        if all(parse_date(word) for word in words) and not summary.numbers:
            return self._date(name, summary)
        if all(parse_truth(word) is not None for word in words) and not summary.numbers:
            return ColumnSchema(name, "boolean")
        for what, parse, example in (("dates", parse_date, "2024-03-31"), ("truth values", parse_truth, "true")):
            if 2 * sum(count for word, count in words.items() if parse(word) is not None) >= present:
                return self._nearly(name, summary, what, [w for w in words if parse(w) is None], example)
        if 2 * sum(n for word, n in words.items() if looks_like_disguised_number(word)) > present:
            return self._disguised(name, summary)
        if summary.distinct + len(summary.null_words) <= self.options["max_categories"]:
            return self._categorical(name, summary)
        self.problems.append(Problem(
            f"column {name!r} holds text ({self._how_many(summary)}, first {summary.examples[0][1]!r}), which is not "
            "supported as a feature", ("to leave text out", {"types": {name: "ignored"}}),
            ("to take every text for a category", {"types": {name: "categorical"}})))  # fmt: skip
        return None

    def _how_many(self, summary) -> str:
        count = f"more than {MOST_DISTINCT:,}" if summary.too_many else f"{summary.distinct:,}"
        return f"{count} different texts in {summary.present:,} cells"

    def _numeric(self, name, summary) -> ColumnSchema:
        return ColumnSchema(name, "numeric", offset=_offset(summary))

    def _date(self, name, summary) -> ColumnSchema:
        clock, low, high = summary.clock, summary.time_low, summary.time_high
        for word in summary.words:
            micro, timed = parse_date(word)
            clock, low, high = clock or (timed and micro % 86_400_000_000 != 0), min(low, micro), max(high, micro)
        return ColumnSchema(name, "date", clock=clock, offset=low // 86_400_000_000)

    def _categorical(self, name, summary) -> ColumnSchema:
        numbers = [number_name(value) for value in sorted(summary.names.values())]
        words = sorted({*summary.words, *summary.null_words})
        return ColumnSchema(name, "categorical", categories=[*numbers, *words], missing=summary.missing > 0)

    def _cells(self, summary) -> str:
        return ", ".join(f"{word!r} in {self.source.place(record)}" for record, word in summary.examples)

    def _nearly_numeric(self, name, summary) -> None:
        bad = sum(summary.words.values())
        what = f"column {name!r} is numeric but for {bad:,} of {summary.present:,} cells ({self._cells(summary)})"
        words = list(summary.words)
        ways = [("if categories are meant", {"types": {name: "categorical"}})]
        if len(words) <= 3:
            ways.insert(0, ("if they stand for missing values", {"na": words}))
        else:
            ways.append(("to leave the column out", {"types": {name: "ignored"}}))
        if summary.whole and self._with_comma(words):  # 1,5 among 1 and 2; beside 0.5 a comma is none
            ways.append(("if these are decimal commas", {"decimal": ","}))
        self.problems.append(Problem(what, *ways))

    def _nearly(self, name, summary, what, others, example) -> None:
        """All dates, or all truth values, but for a few cells."""
        bad = sum(summary.words[word] for word in others) + summary.numbers
        shown = shorten(map(repr, [*others, *summary.names]), 3)
        ways = [("if categories are meant", {"types": {name: "categorical"}})]
        if len(others) <= 3 and not summary.numbers:
            ways.insert(0, ("if they stand for missing values", {"na": others}))
        else:
            ways.append(("to leave the column out", {"types": {name: "ignored"}}))
        self.problems.append(Problem(f"column {name!r} holds {what} (such as {example}) but for {bad:,} of "
                                     f"{summary.present:,} cells ({shown})", *ways))  # fmt: skip

    def _with_comma(self, words) -> bool:
        return self.options["decimal"] == "." and all(parse_number(word, ",") is not None for word in words[:100])

    def _disguised(self, name, summary) -> None:
        ways = [("if categories are meant", {"types": {name: "categorical"}}),
                ("to leave the column out", {"types": {name: "ignored"}})]  # fmt: skip
        if self._with_comma(list(summary.words)):
            what, ways[1] = "numbers with decimal commas", ways[0]
            ways[0] = ("to read decimal commas", {"decimal": ","})
        else:
            what = "numbers with signs that are not read (thousands, percent, currency)"
        self.problems.append(Problem(f"column {name!r} holds {what}: {self._cells(summary)}", *ways))

    def _stated(self, name, kind, summary) -> ColumnSchema | None:
        if kind == "categorical":
            if summary.too_many:
                raise ValueError(f"{self.source.label}: column {name!r} has {self._how_many(summary)}; too many to be "
                                 "categories")  # fmt: skip
            return self._categorical(name, summary)
        if kind == "text":
            raise ValueError(f"{self.source.label}: column {name!r}: text is not supported as a feature; leave it out "
                             "(ignored)")  # fmt: skip
        if not summary.present:
            raise ValueError(f"{self.source.label}: column {name!r} is empty in every row; leave it out (ignored)")
        others = [word for word in summary.words if not _fits(kind, word)]
        if kind == "date":
            wrong = bool(others or summary.numbers)
        else:
            wrong = bool(others or summary.times or (kind == "boolean" and not _only_truths(summary)))
        if wrong:
            held = self._cells(summary) if summary.words else f"numbers from {summary.low:g} to {summary.high:g}"
            raise ValueError(f"{self.source.label}: column {name!r} is to be {kind}, but holds {held}")
        return {"numeric": self._numeric, "date": self._date}.get(
            kind, lambda name, _: ColumnSchema(name, "boolean")
        )(name, summary)

    # ---- the target

    def _target(self, name, summary) -> ColumnSchema | None:
        label, task = self.source.label, self.options["task"]
        if not summary.present and not (summary.null_words and task != "regression"):
            raise ValueError(f"{label}: target column {name!r} is empty in every row")
        if summary.times:
            raise ValueError(f"{label}: target column {name!r} holds dates; predict a number of days instead")
        numeric = summary.numbers == summary.present and summary.numbers > 0 and not summary.truths
        if summary.words and all(parse_date(word) is not None for word in summary.words) and not summary.numbers:
            raise ValueError(f"{label}: target column {name!r} holds dates; predict a number of days instead")
        if not numeric and task == "regression":
            held = self._cells(summary) or "truth values"
            raise ValueError(f"{label}: target column {name!r} holds {held}; regression needs numbers")
        if not numeric and 2 * summary.numbers >= summary.present and not summary.truths:
            return self._nearly_numeric(name, summary)
        if not numeric and _many_disguised(summary):
            return self._disguised(name, summary)
        if task == "auto":
            few = summary.whole and len(summary.names) <= MAX_CLASS_NUMBERS and not summary.too_many
            task = "classification" if not numeric or few else "regression"
        if task == "regression":
            if not abs(summary.low) < float("inf") > abs(summary.high):
                raise ValueError(f"{label}: target column {name!r} holds an infinite number")
            return ColumnSchema(name, "target")
        return self._classes(name, summary, numeric)

    def _classes(self, name, summary, numeric) -> ColumnSchema:
        if summary.truths:
            classes = ["False", "True"] if len(summary.names) == 2 else [str(bool(summary.low))]
        elif numeric:
            classes = [number_name(value) for value in sorted(summary.names.values())]
        else:
            classes = [number_name(value) for value in sorted(summary.names.values())]
            classes += sorted({*summary.words, *summary.null_words})
        if len(classes) < 2:
            raise ValueError(f"{self.source.label}: target column {name!r} has one class only ({classes[0]!r}); two "
                             "are needed")  # fmt: skip
        if len(classes) > max(1000, summary.rows // 2) or summary.too_many:
            raise ValueError(f"{self.source.label}: target column {name!r} has {len(classes):,} classes in "
                             f"{summary.rows:,} rows")  # fmt: skip
        return ColumnSchema(name, "target", categories=classes, numbers=numeric)

    # ---- what is said aloud

    def _note_left_out(self, columns) -> None:
        identifiers = [column.name for column in columns if column.kind == "identifier"]
        empty = [column.name for column in columns if column.kind == "ignored" and column.why]
        if identifiers:
            self.notes.append(f"left out as identifiers: {shorten(map(repr, identifiers))}")
        if empty:
            self.notes.append(f"left out, empty in every row: {shorten(map(repr, empty))}")


def _fits(kind: str, word: str) -> bool:
    return parse_date(word) is not None if kind == "date" else kind == "boolean" and parse_truth(word) is not None


def _only_truths(summary) -> bool:
    return summary.truths == summary.present or set(summary.names) <= {"0", "1"}


def _many_disguised(summary) -> bool:
    disguised = sum(count for word, count in summary.words.items() if looks_like_disguised_number(word))
    return 2 * disguised > summary.present and len(summary.words) > MAX_CLASS_NUMBERS


def _is_identifier(name: str, summary) -> bool:
    """Row numbers without a name, and columns called an identifier in which no value occurs twice."""
    if summary.missing or summary.null_words or summary.rows < 2:
        return False
    unnamed = _UNNAMED.fullmatch(name) is not None
    if summary.rising and summary.whole and (unnamed or (_ID_NAME.search(name) and summary.rows >= _SOME_ROWS)):
        return True
    if not _ID_NAME.search(name) or summary.rows < _SOME_ROWS:
        return False
    if summary.numbers == summary.rows:
        return summary.whole and (summary.too_many or len(summary.names) == summary.rows)
    return summary.too_many or summary.distinct == summary.rows


def _offset(summary) -> int:
    """What is subtracted, in double, before a column is rounded to float32: 0 unless rounding would merge its values.

    float32 holds whole numbers up to 2^24, and a fraction of 2^-24 of any number.
    """
    low, high = summary.low, summary.high
    largest, spread = max(abs(low), abs(high)), high - low
    large = largest > 2**24 if summary.whole else largest > 2**20
    merges = (large and 2 * spread < largest) or (not summary.whole and 0 < 1024 * spread < largest)
    return int(low) if merges else 0


__all__ = ["KINDS", "MAX_CATEGORIES", "TASKS", "Inference", "Problem", "SchemaError", "command_line", "python_call"]
