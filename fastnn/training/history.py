"""History: what happened in each epoch."""


class History:
    """One column per quantity, one entry per epoch; ``history["val_loss"]`` is a list.

    ``loss`` is the mean per row of the training-mode batch losses, weighted by class and sample weights (as the loss's
    ``row_weights`` say) whatever the loss's reduction, without penalties; ``val_loss`` the same in inference mode;
    metrics are ``val_<name>``, and with ``eval_train=True`` also ``train_loss`` and ``train_<name>``. ``penalty`` is
    what L2 and L1 add to the loss at the epoch's end, if the optimizer has such terms (see ``optim.penalty``). ``lr``
    is the rate at the epoch's end, ``seconds`` the time of its training steps (without evaluation) and
    ``samples_per_second`` the rows trained per such second.

    Attributes
    ----------
    epoch : list of int
        Numbers of the epochs, from 0; a second `fit` continues them.
    stop_reason : str
        "epochs", "callback", "max_time", "nan", "interrupted" or "error": why the last `fit` ended.
    """

    def __init__(self):
        self.epoch = []
        self.columns = {}
        self.stop_reason = ""

    def add(self, epoch, values):
        """Append one epoch; columns that are new or absent are filled with None."""
        self.epoch.append(epoch)
        for name in values:
            self.columns.setdefault(name, [None] * (len(self.epoch) - 1))
        for name, column in self.columns.items():
            column.append(values.get(name))

    def amend(self, values):
        """Overwrite and extend the row of the last epoch."""
        for name, value in values.items():
            self.columns.setdefault(name, [None] * len(self.epoch))[-1] = value

    @property
    def history(self):
        """The columns as a dict of lists (Keras' name)."""
        return self.columns

    def __getitem__(self, name):
        if name not in self.columns:
            raise KeyError(f"history has no {name!r}; it has {', '.join(self.columns) or 'no epochs yet'}")
        return self.columns[name]

    def __contains__(self, name):
        return name in self.columns

    def __len__(self):
        return len(self.epoch)

    def keys(self):
        """Names of the columns."""
        return self.columns.keys()

    def last(self):
        """The values of the last epoch as a dict."""
        return {name: column[-1] for name, column in self.columns.items()} if self.epoch else {}

    def to_dict(self):
        """A copy as {"epoch": [...], column: [...]}, for JSON or a data frame."""
        return {"epoch": list(self.epoch), **{name: list(column) for name, column in self.columns.items()}}

    def load_dict(self, values):
        """Take over what `to_dict` returned."""
        self.epoch = list(values["epoch"])
        self.columns = {name: list(column) for name, column in values.items() if name != "epoch"}

    def __repr__(self):
        last = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items() if value is not None)
        return f"History({len(self.epoch)} epochs; {last})"
