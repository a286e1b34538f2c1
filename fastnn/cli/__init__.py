"""The command line: ``fastnn train | predict | evaluate | bench | info | selftest``.

Exit codes: 0 done; 2 bad input or usage, named in one line on standard error, with nothing written; 130 interrupted.
``FASTNN_DEBUG=1`` shows the traceback of an error instead of the line.
"""

import contextlib
import os
import sys

# What a user can cause; anything else is a defect of fastnn and shows its traceback.
_USER_ERRORS = (ValueError, TypeError, IndexError, OSError, MemoryError, OverflowError, ImportError)


# Options as the library's messages spell them -> as they are typed.
_TYPED = {
    "missing='drop'": "--missing drop", "missing='mean'": "--missing mean", "header=False": "--no-header",
    "decimal=','": "--decimal ,", "(ignore)": "(--ignore)", "(ignored)": "(--ignore)",
    'delimiter must be "auto" or one character': "--delimiter must be one character",
    "unknown text encoding": "--encoding: unknown text encoding",
}  # fmt: skip


def as_typed(text):
    """A message with options spelt as on the command line."""
    for python, typed in _TYPED.items():
        text = text.replace(python, typed)
    return text


def _one_line(error):
    """The message of an exception as one line, without Python's decoration."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name]
        return f"{' -> '.join(names)}: {error.strerror}" if names else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    if _lacks_native(error):
        return "the native module is not built: run pip install . in the source folder (it needs a C compiler)"
    return as_typed(" ".join(str(error).split())) or type(error).__name__


def _is_users(error):
    """False for the failure to import a part of fastnn that is always there: a defect, not a missing package."""
    name = getattr(error, "name", None) or ""
    return not (isinstance(error, ImportError) and name.startswith("fastnn")) or _lacks_native(error)


def _lacks_native(error):
    return isinstance(error, ImportError) and "_native" in str(error)


def _complain(command, error):
    print(f"fastnn {command}: error: {_one_line(error)}", file=sys.stderr)
    return 2


def _silence_broken_pipe():
    """The reader has gone (``fastnn predict … | head``): let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _run(options):
    from importlib import import_module

    command = {"evaluate": "predict"}.get(options.command, options.command)
    module = import_module("fastnn.cli." + command)
    from fastnn.threads import num_threads

    with num_threads(getattr(options, "threads", None)), _standard_input(options):
        return getattr(module, options.command)(options)


@contextlib.contextmanager
def _standard_input(options):
    """``-`` as DATA: what stands on standard input, in a file of its own, because tables are read more than once."""
    if getattr(options, "data", None) != "-":
        yield
        return
    import shutil
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="fastnn-", suffix=".csv") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        options.stdin = file.name
        yield


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit code.
    """
    from fastnn.cli.options import parse

    try:
        options = parse(argv)
    except SystemExit as stop:  # --help, --version and usage errors
        return stop.code or 0
    try:
        code = _run(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _silence_broken_pipe()
    except KeyboardInterrupt:
        print(f"\nfastnn {options.command}: interrupted", file=sys.stderr)
        return 130
    except _USER_ERRORS as error:
        if os.environ.get("FASTNN_DEBUG") or not _is_users(error):
            raise
        return _complain(options.command, error)
