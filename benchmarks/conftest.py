"""``pytest benchmarks/`` without pytest-benchmark says what to install, in one line."""

import pytest


def pytest_configure(config):
    if not config.pluginmanager.hasplugin("benchmark"):
        pytest.exit("benchmarks need pytest-benchmark: pip install pytest-benchmark", returncode=4)
