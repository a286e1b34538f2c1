"""What the report does with figures, on made-up ones: nothing is measured here."""

import cases
import numpy as np
import render_products
import report
import sample


def rows(seconds_of_fastnn, seconds_of_numpy):
    of_cases = [cases.product(*shape, kind="linear_plain") for shape in sample.shapes(len(seconds_of_fastnn))]
    return [
        sample.row(case, {"fastnn": {"seconds": a}, "NumPy": {"seconds": b}})
        for case, a, b in zip(of_cases, seconds_of_fastnn, seconds_of_numpy, strict=True)
    ]


def test_the_sample_is_the_same_every_time_and_in_range():
    shapes = sample.shapes()
    assert shapes == sample.shapes()
    assert len(shapes) == 200
    assert shapes[:5] == sample.shapes(5)
    assert all(1 <= size <= 4096 for shape in shapes for size in shape)
    assert np.abs(np.median(shapes, axis=0) - 64).max() < 40  # log-uniform: half of the sizes are below 64


def test_percentiles_are_those_of_numpy():
    values = list(np.random.default_rng(1).uniform(0, 3, 37))
    for _, percent in render_products.COUNTED:
        assert np.isclose(render_products.percentile(values, percent), np.percentile(values, percent))


def test_sample_page_lists_what_is_behind():
    measured = {"threads": 2, "rounds": 5, "versions": [["fastnn", "1"], ["NumPy", "2"]]}
    measured["rows"] = rows([1.0, 2.0, 1.0, 1.0], [2.0, 1.0, 3.0, 4.0])
    text = "\n".join(render_products.sample_section(measured, None))
    assert f"- {measured['rows'][1]['label']}: 0.50 (NumPy)" in text
    assert text.count("(NumPy)") == 1
    assert "| all | 4 | 0.50 |" in text


def test_teams_page_lists_what_a_second_thread_slows_down():
    of_cases = [cases.product(*shape, kind="layer") for shape in sample.shapes(3)]
    times = [(1.0, 0.5), (1.0, 1.2), (1.0, 1.05)]
    figures = [{"1": {"seconds": a}, "2": {"seconds": b}} for a, b in times]
    text = "\n".join(render_products.teams_section({"threads": 2, "rows": list(map(sample.row, of_cases, figures))}))
    assert f"compiled layer {cases.label(of_cases[1])}: 1.20" in text
    assert text.count("on one thread)") == 1


def test_a_report_in_pieces_keeps_what_was_measured_before():
    head = {"date": "old", "hardware": [], "limits": {}, "rounds": 5, "samples": 5, "quick": False, "versions": []}
    old = {**head, "suites": [{"key": "products", "threads": 2, "rows": [1]}, {"key": "steps", "threads": 2}]}
    old["products"] = {"sample": {"rows": [1]}, "teams": {"rows": [1]}}
    new = {**head, "date": "new", "suites": [{"key": "products", "threads": 2, "rows": [2]}], "products": {}}
    both = report.merged(old, new)
    assert [(suite["key"], suite.get("rows")) for suite in both["suites"]] == [("products", [2]), ("steps", None)]
    assert both["products"] == old["products"]
    assert both["date"] == "new"
    pieces = report.merged(old, {**head, "date": "new", "suites": [], "products": {"sample": {"rows": [2]}}})
    assert pieces["date"] == "old"
    assert pieces["products"] == {"sample": {"rows": [2]}, "teams": {"rows": [1]}}
