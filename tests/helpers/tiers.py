"""Which tests run when: quick ones by default, whole grids in the slow tier, what cannot run here left out in one line.

    pytest                      the base suite: -m "not slow" (pyproject.toml)
    pytest -m slow              the rest: long tests, and the grids of parameters that the base suite takes a sample of
    pytest --optional           the tests that need optional packages, those of both tiers that -m leaves
    pytest --budget 120         fails if the run takes more CPU seconds, and lists the most expensive tests

A test with many combinations of parameters stays in the base suite with a sample: each value of each parameter at least
once. The rest of its grid is slow.
"""

import inspect
import os
import re
import time
from importlib.util import find_spec

import pytest

LARGEST_GRID = 4  # combinations of one test that are all quick
LONGEST = 2.0  # seconds of a quick test on an idle machine
_NEEDS = re.compile(r"""importorskip\(["']([\w.]+)["']""")
_ALWAYS = ("fastnn", "safetensors", "tqdm", "scipy", "numpy")  # part of the package or of the extra [test]


def pytest_addoption(parser):
    group = parser.getgroup("fastnn")
    group.addoption("--optional", action="store_true", help="run only tests that need optional packages")
    group.addoption("--budget", type=float, default=None, help="CPU seconds that the run may take")


def pytest_configure(config):
    config.pluginmanager.register(_Tiers(config), "fastnn-tiers")
    config.pluginmanager.register(_Budget(config), "fastnn-budget")


class _Tiers:
    def __init__(self, config):
        self.only_optional = config.getoption("--optional")
        self.sources, self.missing = {}, {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config, items):
        kept, left = [], []
        for item in items:
            always, sometimes = self._needs(item)
            absent = next((name for name in always if not _is_there(name)), None)
            if absent is not None:
                self.missing[absent.split(".")[0]] = self.missing.get(absent.split(".")[0], 0) + 1
            (left if absent is not None or (self.only_optional and not sometimes) else kept).append(item)
        if left:
            items[:] = kept
            config.hook.pytest_deselected(items=left)
        grids = {}
        for item in items:
            grids.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
        for grid in grids.values():
            for item in _outside_sample(grid):
                item.add_marker(pytest.mark.slow)

    def pytest_terminal_summary(self, terminalreporter):
        if self.missing:
            told = ", ".join(f"{name} ({count})" for name, count in sorted(self.missing.items()))
            terminalreporter.write_line(f"not run, for want of optional packages: {told}")

    def _needs(self, item):
        """The optional packages that a test, its module or its fixtures ask for: always, and in some of the cases."""
        read = [self._read(item.module, whole=True), self._read(item.obj)]
        read += [self._read(definitions[-1].func) for definitions in item._fixtureinfo.name2fixturedefs.values()]
        return tuple(
            [name for found in read for name in found[kind] if name.split(".")[0] not in _ALWAYS] for kind in (0, 1)
        )

    def _read(self, thing, whole=False):
        if thing not in self.sources:
            try:
                text = inspect.getsource(thing)
            except (OSError, TypeError):
                text = ""
            if whole:  # of a module: what stands at its margin
                text = "\n".join(line for line in text.splitlines() if not line.startswith((" ", "\t")))
            # an import behind a condition is for some of the cases only: pytest skips those
            lines = [line for line in text.splitlines() if len(line) - len(line.lstrip()) <= 4]
            self.sources[thing] = _NEEDS.findall("\n".join(lines)), _NEEDS.findall(text)
        return self.sources[thing]


def _is_there(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _outside_sample(grid):
    """The combinations of a large grid that bring no value of a parameter that those before them have not."""
    if len(grid) <= LARGEST_GRID or not all(hasattr(item, "callspec") for item in grid):
        return []
    seen, outside = set(), []
    # a fixed order in which neighbours differ in all parameters
    for _, item in sorted(enumerate(grid), key=lambda pair: (pair[0] * 2654435761) % 4294967296):
        values = {(name, repr(value)) for name, value in item.callspec.params.items()}
        if values <= seen:
            outside.append(item)
        seen |= values
    return outside


class _Budget:
    """CPU seconds of the run, children included."""

    def __init__(self, config):
        self.limit, self.spent, self.longest = config.getoption("--budget"), {}, {}
        self.began = _cpu()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        before, clock = _cpu(), time.monotonic()
        yield
        self.spent[item.nodeid] = _cpu() - before
        self.longest[item.nodeid] = time.monotonic() - clock

    def pytest_terminal_summary(self, terminalreporter):
        if self.limit is None:
            return
        total = _cpu() - self.began
        terminalreporter.write_line(f"CPU: {total:.0f} s of {self.limit:.0f} s")
        for name in sorted(self.spent, key=self.spent.get, reverse=True)[:10]:
            terminalreporter.write_line(f"  {self.spent[name]:6.2f} s CPU {self.longest[name]:6.2f} s  {name}")
        functions = {}
        for name, spent in self.spent.items():
            functions.setdefault(name.partition("[")[0], []).append(spent)
        for name in sorted(functions, key=lambda name: -sum(functions[name]))[:20]:
            cases = functions[name]
            terminalreporter.write_line(f"  {sum(cases):6.2f} s CPU in {len(cases):3} cases  {name}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self.limit is not None and _cpu() - self.began > self.limit and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _cpu():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
