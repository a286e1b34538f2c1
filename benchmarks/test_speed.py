"""fastnn against NumPy, one group per op: ``pytest benchmarks/`` needs pytest-benchmark and nothing else.

``pytest benchmarks/ -k adam`` times one; ``--benchmark-disable`` only checks that all of them run. The comparison with
the other libraries, in processes of their own, is ``python benchmarks/report.py``.
"""

import cases
import peers
import pytest

CASES = cases.op_cases()
LIBRARIES = ("fastnn", "numpy")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES, ids=cases.case_names())
@pytest.mark.benchmark(max_time=0.3, min_rounds=5, warmup=True)
def test_speed(benchmark, case, library):
    call = peers.load(library).FACTORIES[case["kind"]](case)
    assert call is not None, f"{library} has no {cases.case_name(case)}"
    benchmark.group = cases.case_name(case)
    benchmark(call)
