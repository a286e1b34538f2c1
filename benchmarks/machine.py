"""What this machine is and what it can do: the denominators of every share in the report.

``probe()`` builds ``probe/probe.c`` with the system's C compiler in a temporary directory and runs it; nothing of it is
shipped. ``hardware()`` describes the machine in words.
"""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parent / "probe" / "probe.c"
FLAGS = ["-O3", "-std=gnu11", "-Wno-unknown-pragmas"]


def compiler():
    """The C compiler's command: ``$CC``, else the first of cc, gcc, clang."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    raise RuntimeError("the probe needs a C compiler (cc, gcc or clang): install one or set CC")


@contextmanager
def built_probe():
    """The command of the compiled probe and whether it knows threads, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="fastnn-probe-") as folder:
        binary = str(Path(folder) / "probe")
        for openmp in (["-fopenmp"], []):
            build = subprocess.run(
                [*compiler(), *FLAGS, *openmp, str(SOURCE), "-o", binary], capture_output=True, text=True, check=False
            )
            if build.returncode == 0:
                break
        else:
            raise RuntimeError(f"the probe does not compile:\n{build.stderr}")
        yield binary, bool(openmp)


def _json_of(*command):
    return json.loads(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)


def probe(threads, *, quick=False):
    """Measure peak, bandwidth and region cost.

    Returns
    -------
    dict
        ``isa``; ``peak``: rows of ``threads, float32, float64`` in GFLOP/s; ``bandwidth``: rows of ``threads, bytes,
        read, copy, triad`` in GB/s, where ``bytes`` is the working set of all threads; ``region_ns``: an empty region.
    """
    with built_probe() as (binary, openmp):
        return _json_of(binary, threads if openmp else 1, *(["quick"] if quick else []))


def peak(binary, threads, isa):
    """``{"float32": GFLOP/s, "float64": GFLOP/s}`` of one instruction set's multiply-adds, in a tenth of a second."""
    return _json_of(binary, threads, "peak", isa if isa in ("avx512", "avx2") else "base")


class Limits:
    """Looks the right limit up in the measured figures."""

    def __init__(self, measured):
        self.measured = measured

    def peak(self, threads, dtype="float32"):
        """GFLOP/s of registers-only multiply-adds at this thread count (or the nearest one measured below it)."""
        rows = [row for row in self.measured["peak"] if row["threads"] <= threads]
        return rows[-1][dtype]

    def bandwidth(self, threads, working_set, kind="triad"):
        """GB/s at the smallest measured working set that holds ``working_set`` bytes (the largest if none does)."""
        counts = [row["threads"] for row in self.measured["bandwidth"] if row["threads"] <= threads]
        rows = [row for row in self.measured["bandwidth"] if row["threads"] == counts[-1]]
        for row in rows:
            if row["bytes"] >= working_set:
                return row[kind]
        return rows[-1][kind]


def cpu_count():
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cpu_fields():
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _caches():
    """Sizes of the data and unified caches, innermost first, for example ``["32K", "1024K", "32768K"]``."""
    sizes = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (index / "type").read_text().strip() != "Instruction":
                sizes.append((index / "size").read_text().strip())
        except OSError:
            continue
    return sizes


def hardware():
    """A list of (name, value) rows: processor, cores, caches, memory, system, Python."""
    fields = _cpu_fields()
    model = fields.get("model name", platform.processor() or platform.machine())
    if "cpu family" in fields:
        model += f" (family {fields['cpu family']}, model {fields['model']}, stepping {fields.get('stepping', '?')})"
    rows = [("processor", model), ("cores", str(cpu_count()))]
    if caches := _caches():
        rows.append(("caches (L1d, L2, …)", ", ".join(caches)))
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        rows.append(("memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"))
    rows += [("system", f"{platform.system()} {platform.release()}"), ("Python", platform.python_version())]
    return rows


if __name__ == "__main__":
    print(json.dumps({"hardware": hardware(), **probe(cpu_count())}, indent=1))
