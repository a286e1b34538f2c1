"""Fixtures that most test files share."""

import os
import signal

import numpy as np
import pytest
from helpers.tiers import pytest_addoption, pytest_configure  # noqa: F401  (hooks)

from fastnn import _native, manual_seed
from fastnn.threads import isa as use_isa
from fastnn.threads import num_threads

FORCED_ISA = os.environ.get("FASTNN_ISA")
ISAS = (FORCED_ISA,) if FORCED_ISA else tuple(_native.available_isas())


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=ISAS)
def isa(request):
    """Run the test once with each instruction set that runs here (or only with the one that FASTNN_ISA forces)."""
    with use_isa(request.param):
        yield request.param


@pytest.fixture(params=[1, 2, 3, 4])
def threads(request):
    """Run the test with 1 to 4 threads, the cost model switched off."""
    with num_threads(request.param, force=True):
        yield request.param


@pytest.fixture(autouse=True)
def repeatable():
    """Unseeded weights and masks are the same in every run of a test."""
    manual_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(20240917)


@pytest.fixture
def interruptible():
    """Ctrl-C reaches this process and its children: a job in the background of a shell starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def opened_tables():
    """(path, options) of every text table that has been opened with any reader, as the session goes on."""
    from importlib.util import find_spec

    from fastnn.data.text_source import TextSource

    opened, original = [], TextSource.__init__

    def recording(self, path, **form):
        if form.get("reader", "auto") == "auto":
            opened.append((os.path.abspath(path), form))
        original(self, path, **form)

    if find_spec("pyarrow") is None:
        yield opened
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextSource, "__init__", recording)
        yield opened


@pytest.fixture(autouse=True)
def both_readers_agree(opened_tables):
    """Every text table of a test is read by the csv module and by pyarrow: the same cells, or the same error."""
    opened_tables.clear()
    yield
    tables, opened_tables[:] = dict(opened_tables), []
    if tables:
        from helpers.tables import assert_readers_agree

        for path, form in tables.items():
            if os.path.isfile(path) and os.path.getsize(path) < 1_000_000:
                assert_readers_agree(path, form)
