"""The progress bar: one bar for the whole fit, drawn at most ten times a second, silent when not a terminal."""

import sys


class Silent:
    """The bar that is not there."""

    def advance(self, steps, loss):
        pass

    def epoch(self, epoch, logs):
        pass

    def close(self):
        pass


class Bar:
    """A tqdm bar over all steps of a fit; tqdm is imported only when one is drawn."""

    def __init__(self, epochs, steps_per_epoch):
        from tqdm.auto import tqdm

        self._epochs = epochs
        self._text = ""
        total = epochs * steps_per_epoch or None
        self._bar = tqdm(total=total, unit="step", mininterval=0.1, dynamic_ncols=True)
        self._bar.set_description(f"epoch 1/{epochs}", refresh=False)

    def advance(self, steps, loss):
        """Count steps; tqdm decides whether to draw."""
        if not self._text:
            self._bar.set_postfix_str(f"loss={loss:.4f}", refresh=False)
        self._bar.update(steps)

    def epoch(self, epoch, logs):
        """Show the figures of the epoch that has ended."""
        shown = {k: v for k, v in logs.items() if v is not None and ("loss" in k or k.startswith("val_"))}
        self._text = ", ".join(f"{name}={value:.4f}" for name, value in shown.items())
        self._bar.set_postfix_str(self._text, refresh=False)
        self._bar.set_description(f"epoch {min(epoch + 2, self._epochs)}/{self._epochs}", refresh=False)

    def close(self):
        self._bar.close()


def _in_notebook():
    return "ipykernel" in sys.modules


def make_progress(wanted, epochs, steps_per_epoch):
    """A bar if it is wanted and somebody can see it."""
    if not wanted:
        return Silent()
    terminal = getattr(sys.stderr, "isatty", None)
    if not (_in_notebook() or (terminal is not None and terminal())):
        return Silent()
    try:
        return Bar(epochs, steps_per_epoch)
    except ImportError:
        return Silent()
