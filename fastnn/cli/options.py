"""What can be typed: the options of every command, and one-line errors that name the allowed values."""

import argparse
import difflib

TRAIN_EXAMPLES = """examples:
  fastnn train digits                                  the handwritten digits inside the package
  fastnn train houses.csv --target price               a table; classes or numbers are told apart
  fastnn train --idx-dir fashion-mnist --epochs 10     MNIST's four files, plain or .gz
"""


BENCH_EXAMPLES = """examples:
  fastnn bench digits.safetensors                      a model that fastnn train or fastnn.save wrote
  fastnn bench --inputs 784 --layers 256,128 --outputs 10 --batch-norm --dropout 0.2 --batch-size 64
"""


# What --help of train shows; --help-all shows the rest too.
_MOST_NEEDED = ("--help", "--help-all", "--target", "--task", "--type", "--missing", "--ignore", "--layers", "--epochs",
                "--lr", "--search", "--ensemble", "--refit", "--output")  # fmt: skip


class _HelpAll(argparse.Action):
    """``--help-all``: the help with every option."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_help(full=True)
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line; unknown options come with the nearest known one.

    A parser with ``--help-all`` shows the twelve options that most people need in ``--help``.
    """

    def print_help(self, file=None, full=False):
        kept = [(action, action.help) for action in self._actions]
        short = not full and any("--help-all" in action.option_strings for action in self._actions)
        for action in self._actions:
            if short and action.option_strings and not set(action.option_strings) & set(_MOST_NEEDED):
                action.help = argparse.SUPPRESS
        try:
            super().print_help(file)
        finally:
            for action, text in kept:
                action.help = text

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def option_names(self):
        return [name for action in self._actions for name in action.option_strings]


def _whole(least):
    def convert(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return value

    return convert


def _real(description, accepts):
    def convert(text):
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not accepts(value):
            raise argparse.ArgumentTypeError(f"must be {description}, not {text!r}")
        return value

    return convert


_positive = _real("a number above 0", lambda v: 0.0 < v < float("inf"))
_not_negative = _real("a number of at least 0", lambda v: 0.0 <= v < float("inf"))
_share = _real("from 0 to below 1", lambda v: 0.0 <= v < 1.0)

# How a text table is read: of no concern to images.
READING = ("task", "max_categories", "decimal", "no_header", "delimiter", "encoding", "na", "type")

SCHEDULES = ("constant", "cosine", "onecycle", "exponential", "step", "inverse", "triangular", "plateau")

# Augmentation -> (default, what the number is, allowed)
AUGMENTS = {
    "flip": (0.5, "probability", lambda v: 0 < v <= 1),
    "shift": (2.0, "pixels", lambda v: v > 0),
    "rotate": (10.0, "degrees", lambda v: 0 < v <= 180),
    "zoom": (0.1, "share", lambda v: 0 < v < 1),
    "elastic": (34.0, "pixels", lambda v: v > 0),
    "noise": (0.1, "deviations", lambda v: v > 0),
}


def _augments(text):
    chosen = []
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in AUGMENTS:
            raise argparse.ArgumentTypeError(
                f"must be some of {', '.join(AUGMENTS)}, each perhaps with =NUMBER, such as flip,shift=2; not {part!r}"
            )
        default, meaning, accepts = AUGMENTS[name]
        try:
            number = float(value) if value else default
        except ValueError:
            number = float("nan")
        if not accepts(number):
            raise argparse.ArgumentTypeError(f"{name}={value} is not possible: the number is in {meaning}")
        chosen.append((name, number))
    return chosen


def _layers(text):
    if text in ("none", "0", ""):
        return ()
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"must be sizes of hidden layers such as 256,128, or none for a linear model; not {text!r}"
        )
    return sizes


def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def _column_type(text):
    from fastnn.data.schema import KINDS

    kinds = [kind for kind in KINDS if kind not in ("target", "text")]
    name, _, kind = text.rpartition("=")
    if not name or kind not in kinds:
        raise argparse.ArgumentTypeError(f"must be COL=KIND, the kind one of {', '.join(kinds)}; not {text!r}")
    return name, kind


def _add_table_options(group):
    group.add_argument("--missing", choices=("error", "drop", "mean"),
                       help="missing values: refuse, drop the rows, or put the training part's means (default)"
                       )  # fmt: skip
    group.add_argument("--na", action="append", default=[], metavar="WORD",
                       help="a word that stands for a missing cell; can be repeated")  # fmt: skip
    group.add_argument("--no-header", action="store_true", help="the first row holds data, not names")
    group.add_argument("--delimiter", default="auto", metavar="CHAR", help="default: found out")
    group.add_argument("--encoding", default="utf-8", metavar="NAME", help="text encoding (default: UTF-8)")


def _add_run_options(parser):
    parser.add_argument("--threads", type=_whole(1), metavar="N", help="default: every CPU this process may use")


def _add_data(parser, meaning):
    parser.add_argument("data", nargs="?", metavar="DATA", help=meaning)
    parser.add_argument("--idx-dir", metavar="DIR", help="folder with MNIST's file names, plain or .gz")


def _add_metric(parser):
    parser.add_argument("--metric", action="append", default=[], metavar="NAME",
                        help="measure this too: auc, f1, f1_macro, precision, recall, balanced_accuracy, log_loss, r2,"
                        " mae, mse; can be repeated")  # fmt: skip


def _add_network_options(group, layers, dropout, batch_norm):
    """What `cli.network.make_model` builds from; the texts say the defaults."""
    group.add_argument("--layers", type=_layers, metavar="N,…", help=f"hidden layers ({layers})")
    group.add_argument("--activation", default="relu", metavar="NAME", help="default relu")
    group.add_argument("--dropout", type=_share, metavar="P", help=f"share dropped after each hidden layer ({dropout})")
    group.add_argument("--batch-norm", action=argparse.BooleanOptionalAction, default=None,
                       help=f"batch normalisation before each activation ({batch_norm})")  # fmt: skip
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32")


def _add_optimizer_options(group):
    group.add_argument("--optimizer", default="adam", metavar="NAME", help="default adam")
    group.add_argument("--lr", type=_positive, metavar="RATE", help="learning rate (default 0.001; sgd 0.01)")
    group.add_argument("--momentum", type=_share, metavar="M", help="of sgd (default 0.9)")
    group.add_argument("--weight-decay", type=_not_negative, metavar="L2", help="default 0")


def _add_train(commands):
    parser = commands.add_parser("train", help="train a network and write it to one file", epilog=TRAIN_EXAMPLES,
                                 usage="fastnn train (digits | TABLE --target COL | --idx-dir DIR) [options]",
                                 formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)  # fmt: skip
    parser.add_argument("--help-all", action=_HelpAll, nargs=0, help="show every option, and exit")
    _add_data(parser, "digits (part of the package); a table: text (plain or .gz), Parquet, Feather; - for standard"
              " input")  # fmt: skip
    table = parser.add_argument_group("table")
    table.add_argument("--target", metavar="COL", help="column to predict: name, or position (0 first, -1 last)")
    table.add_argument("--task", choices=("auto", "classification", "regression"), default="auto",
                       help="default: from the target")  # fmt: skip
    table.add_argument("--no-clip", action="store_true",
                       help="leave values far outside as they are (default: pulled in smoothly)")  # fmt: skip
    table.add_argument("--ignore", type=_names, default=[], metavar="COL,…", help="columns to leave out")
    table.add_argument("--type", type=_column_type, action="append", default=[], metavar="COL=KIND",
                       help="numeric, categorical, boolean, date, identifier or ignored; can be repeated")  # fmt: skip
    table.add_argument("--max-categories", type=_whole(2), default=100, metavar="N",
                       help="refuse columns of more different texts (default 100)")  # fmt: skip
    table.add_argument("--decimal", default=".", choices=(".", ","), metavar=".|,", help="decimal sign (default .)")
    _add_table_options(table)

    model = parser.add_argument_group("model")
    _add_network_options(model, "default 256,128; tables 128,64", "default 0.2; digits 0.3, regressions 0",
                         "default: only for digits")  # fmt: skip

    fit = parser.add_argument_group("training")
    fit.add_argument("--epochs", type=_whole(1), metavar="N", help="default by the size of the data")
    fit.add_argument("--batch-size", type=_whole(1), metavar="N", help="default 32, from 10,000 rows on 128")
    _add_optimizer_options(fit)
    fit.add_argument("--loss", metavar="NAME", help="classes: cross-entropy, focal; numbers: mse, mae, huber")
    fit.add_argument("--class-weight", choices=("balanced",), metavar="balanced",
                     help="let every class count the same, however rare")  # fmt: skip
    _add_metric(fit)
    fit.add_argument("--refit", action="store_true",
                     help="after measuring, train again on all rows, for as many epochs as were best")  # fmt: skip
    fit.add_argument("--patience", "--early-stopping", dest="patience", type=_whole(0), metavar="N",
                     help="stop after N epochs without a better validation loss and keep the best weights; 0: never"
                     " (default: 20 for tables, else 0)")  # fmt: skip
    fit.add_argument("--schedule", choices=SCHEDULES, default="constant", metavar="NAME",
                     help=f"learning rate over the run: {', '.join(SCHEDULES)} (default constant)")  # fmt: skip
    fit.add_argument("--lr-find", action="store_true", help="learning rate from a range test before training")
    fit.add_argument("--augment", type=_augments, metavar="NAME[=X],…",
                     help=f"change images at random in every epoch: {', '.join(AUGMENTS)}")  # fmt: skip
    fit.add_argument("--ema", type=_share, metavar="B",
                     help="average the weights with this decay, such as 0.999, and keep the average if it is better")
    fit.add_argument("--max-time", type=_positive, metavar="SECONDS", help="end the training (or the search) then")
    fit.add_argument("--search", type=_whole(1), metavar="N",
                     help="choose rate, layers, batch size, dropout and decay, those that are not given, by N random"
                     " trials on the validation part")  # fmt: skip
    fit.add_argument("--ensemble", type=_whole(1), metavar="K", help="train K models on bootstrap samples, averaged")
    fit.add_argument("--resume", metavar="FILE",
                     help="checkpoint to go on from if it is there, and to write (with --search: the study)")
    fit.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of split, weights, order (default 0)")
    fit.add_argument(
        "--validation-share", type=_share, metavar="S", help="default by the size of the data, 0.2 to 0.01"
    )
    fit.add_argument("--test-share", type=_share, metavar="S", help="the same; IDX folders have their own test files")
    _add_run_options(fit)

    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", metavar="FILE", help="model file (default: a new name in this folder)")
    output.add_argument("--force", action="store_true", help="replace an existing model file")
    output.add_argument("--report", metavar="DIR", help="write DIR/index.html with tables and pictures")
    output.add_argument("--no-plot", action="store_true", help="no picture of the learning curves")


def _add_predict(commands):
    parser = commands.add_parser("predict", help="apply a trained model to data", allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="file that fastnn train wrote")
    _add_data(parser, "table, IDX file of images, or digits")
    parser.add_argument("--probabilities", action="store_true", help="also one column for each class")
    parser.add_argument("--keep", action="append", default=[], metavar="COL",
                        help="column of the data to repeat beside the predictions; can be repeated")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", help="CSV file to write (default: standard output)")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    _add_table_options(parser.add_argument_group("table"))
    _add_run_options(parser)


def _add_evaluate(commands):
    parser = commands.add_parser("evaluate", help="measure a trained model on labelled data", allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="file that fastnn train wrote")
    _add_data(parser, "table with the target column, or digits (the part kept for the test)")
    _add_metric(parser)
    _add_table_options(parser.add_argument_group("table"))
    _add_run_options(parser)


def _add_bench(commands):
    parser = commands.add_parser("bench", help="where the time of a training step and of predictions goes",
                                 epilog=BENCH_EXAMPLES, usage="fastnn bench (MODEL | --inputs N --outputs N) [options]",
                                 formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)  # fmt: skip
    parser.add_argument("model", nargs="?", metavar="MODEL", help="model file; else the options say what network")
    network = parser.add_argument_group("network")
    network.add_argument("--inputs", type=_whole(1), metavar="N", help="features of a row (default: the file's)")
    network.add_argument("--outputs", type=_whole(1), metavar="N", help="classes; 1: a number to predict")
    _add_network_options(network, "default 128,64", "default 0", "default: none")
    step = parser.add_argument_group("step")
    step.add_argument("--batch-size", type=_whole(2), default=128, metavar="N", help="default 128")
    _add_optimizer_options(step)
    step.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of weights and data (default 0)")
    _add_run_options(step)
    parser.add_argument("-o", "--output", metavar="FILE", help="write the figures to a JSON file too")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def make_parser():
    """The parser of the whole command line."""
    from fastnn import __version__

    parser = _Parser(prog="fastnn", description="Dense neural networks on the CPU.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_bench(commands)
    info = commands.add_parser("info", help="this installation; or a model's card", allow_abbrev=False)
    info.add_argument("model", nargs="?", metavar="MODEL", help="model file: what it was trained on, and how well")
    commands.add_parser("selftest", help="is this installation sound? takes about a second", allow_abbrev=False)
    return parser, commands.choices


def _unknown(parser, words):
    word = words[0].split("=")[0]
    near = difflib.get_close_matches(word, parser.option_names(), 1) if word.startswith("-") else []
    hint = f"; did you mean {near[0]}?" if near else ""
    kind = "option" if word.startswith("-") else "argument"
    parser.error(f"unknown {kind} {word}{hint}")


def parse(argv=None):
    """Options as a namespace; SystemExit with code 2 after a line on standard error, 0 after --help."""
    import sys

    parser, commands = make_parser()
    typed = sys.argv[1:] if argv is None else list(argv)
    options, rest = parser.parse_known_args(typed)
    options.words = ["fastnn", *typed]
    if options.command is None:
        if rest:
            _unknown(parser, rest)
        parser.print_help()
        parser.exit(2)
    command = commands[options.command]
    if rest:
        _unknown(command, rest)
    if hasattr(options, "data"):
        if options.data is None and options.idx_dir is None:
            command.error("say what data: digits, a table, or --idx-dir DIR")
        if options.data is not None and options.idx_dir is not None:
            command.error(f"choose one of {options.data} and --idx-dir")
    return options
