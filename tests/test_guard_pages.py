"""No kernel touches a byte outside its arrays: operands flush against pages that may not be read or written.

A stray access ends the process, so the work is done in a child; its last line says which call it was in.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ISAS

HELPERS = Path(__file__).parent / "helpers"
CHILD = HELPERS / "guard_pages_child.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs mmap and mprotect of Linux")


def run_child(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=900)
    last = done.stdout.strip().splitlines()[-1:]
    assert done.returncode == 0, f"exit code {done.returncode} in {last}\n{done.stderr[-2000:]}"
    assert last == ["done"]


@pytest.mark.parametrize("isa", ISAS)
def test_no_access_outside(isa):
    run_child(CHILD, "run", isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("share", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_no_product_reads_or_writes_outside(share, isa):
    run_child(HELPERS / "guarded_products_child.py", isa, str(share))


@pytest.mark.parametrize("side", ["before", "after"])
def test_the_guard_itself_bites(side):
    done = subprocess.run([sys.executable, str(CHILD), "bite", side], capture_output=True, text=True, timeout=60)
    assert done.returncode == -11, "reading next to a guarded array must be a segmentation fault"
