"""Progress of a fit or of many jobs: a bar where somebody watches, else now and then a line through logger "fastnn".

The bar is drawn at most ten times a second. Without a terminal or notebook (nohup, CI, clusters) the first line comes
after ten seconds, the others every thirty, and one at the end.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

_FIRST, _EVERY = 10.0, 30.0  # seconds until the first line, and between two

logger = logging.getLogger("fastnn")


class Silent:
    """Progress that nobody wants to see."""

    def advance(self, steps: int, loss: Any) -> None:
        """Count steps of training."""

    def epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        """Show the figures of the epoch that has ended."""

    def count(self, text: str = "") -> None:
        """Count a job that is done."""

    def close(self) -> None:
        """Take the bar away, or write the last line."""


class Bar(Silent):
    """A tqdm bar over all steps of a fit, or over jobs; tqdm is imported only when one is drawn."""

    def __init__(self, total: int | None, unit: str, epochs: int = 0) -> None:
        from tqdm.auto import tqdm

        self._epochs, self._done, self._text = epochs, 0, ""
        self._bar = tqdm(total=total, unit=unit, mininterval=0.1, dynamic_ncols=True)
        if epochs:
            self._bar.set_description(f"epoch 1/{epochs}", refresh=False)

    def advance(self, steps: int, loss: Any) -> None:
        if not self._text:
            self._bar.set_postfix_str(f"loss={loss:.4f}", refresh=False)
        self._bar.update(steps)

    def epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        self._done += 1
        self._text = _figures(logs)
        self._bar.set_postfix_str(self._text, refresh=False)
        self._bar.set_description(f"epoch {min(self._done + 1, self._epochs)}/{self._epochs}", refresh=False)

    def count(self, text: str = "") -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(1)

    def close(self) -> None:
        self._bar.close()


class Lines(Silent):
    """A line now and then."""

    def __init__(self, total: int | None, unit: str, epochs: int = 0) -> None:
        self._total, self._unit, self._epochs = total, unit, epochs
        self._done = self._ended = 0
        self._text, self._written = "", False
        self._began = time.monotonic()
        self._due = self._began + _FIRST

    def advance(self, steps: int, loss: Any) -> None:
        self._done += steps
        if time.monotonic() >= self._due:
            self._write(self._text or f"loss={loss:.4f}")

    def epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        self._ended += 1
        self._text = _figures(logs)

    def count(self, text: str = "") -> None:
        self._text = text
        self.advance(1, 0.0)

    def close(self) -> None:
        if self._written:
            self._write(self._text)

    def _write(self, text):
        now = time.monotonic()
        self._due, self._written = now + _EVERY, True
        seconds = now - self._began
        of = f" of {self._total:,}" if self._total else ""
        parts = [f"epoch {min(self._ended + 1, self._epochs)}/{self._epochs}"] if self._epochs else []
        parts += [f"{self._unit} {self._done:,}{of}", *([text] if text else []), _duration(seconds)]
        if self._total and 0 < self._done < self._total:
            parts.append(f"about {_duration(seconds * (self._total - self._done) / self._done)} left")
        _emit(", ".join(parts))


def _emit(text):
    """Through the logger if logging has been set up, else to standard error: a library sets up nothing."""
    if logger.hasHandlers():
        logger.info(text)
    else:
        print(f"fastnn: {text}", file=sys.stderr, flush=True)


def _figures(logs):
    shown = {k: v for k, v in logs.items() if v is not None and ("loss" in k or k.startswith("val_"))}
    return ", ".join(f"{name}={value:.4f}" for name, value in shown.items())


def _duration(seconds):
    """Such as 35 s, 4 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _is_watched():
    terminal = getattr(sys.stderr, "isatty", None)
    return "ipykernel" in sys.modules or (terminal is not None and terminal())


def _make(wanted, *arguments):
    if not wanted:
        return Silent()
    if _is_watched():
        try:
            return Bar(*arguments)
        except ImportError:
            pass
    return Lines(*arguments)


def make_progress(wanted: bool, epochs: int, steps_per_epoch: int) -> Silent:
    """Progress of a fit, if it is wanted."""
    return _make(wanted, epochs * steps_per_epoch or None, "step", epochs)


def make_counter(wanted: bool, total: int | None, unit: str) -> Silent:
    """Progress of jobs, each called a `unit`, if it is wanted."""
    return _make(wanted, total, unit)
