"""What is recommended, and the gate of ``--max-drop``."""

from dataclasses import replace

import pytest

from overfly.benchmarks.results.recommendation import gate_failure, recommend


def test_the_fastest_row_whose_accuracy_is_good_enough_is_recommended(compared, baseline_row, int8_row):
    rows, baseline = compared(baseline_row, int8_row)
    best = recommend(rows, baseline, None)
    assert best.latency == best.throughput == rows[1].deployment
    assert (best.latency.variant, best.latency.device, best.latency.device_name) == ("int8", "CPU", "a CPU")
    assert best.sentence == (
        "Deploy int8 on CPU: 2.00 ms (p50, 5.0 times as fast as PyTorch fp32) and 500 images per second (5.0 times as "
        "fast as PyTorch fp32); accuracy 70.0%, 2 images fewer right than PyTorch fp32, not significant."
    )
    assert recommend(rows, baseline, 0.5).latency is None


def test_only_what_predict_can_run_is_recommended(compared, row_of, baseline_row, int8_row):
    from_onnx = row_of(configuration="from ONNX", variant="fp32", ms=0.1)
    other = row_of(backend="onnxruntime", ms=0.2)
    rows, baseline = compared(baseline_row, from_onnx, other, int8_row)
    assert recommend(rows, baseline, None).latency.variant == "int8"
    assert recommend(rows[:3], baseline, None).latency is None


def test_without_a_baseline_every_row_that_worked_qualifies(compared, int8_row):
    rows, baseline = compared(int8_row)
    assert baseline is None
    assert recommend(rows, None, 0.5).latency == int8_row.deployment


@pytest.mark.parametrize(("limit", "numbers"), [(0.5, ("20.00", "0.5")), (25.0, None), (None, None)])
def test_the_gate_names_the_row_that_loses_too_much(report, limit, numbers):
    # Four of the sixty images, in a report whose int8 row loses twenty points.
    int8 = replace(report.rows[4], difference=replace(report.rows[4].difference, accuracy_pp=-20.0))
    limited = replace(report.recommendation, max_drop_pp=limit)
    failure = gate_failure(replace(report, rows=(*report.rows[:4], int8), recommendation=limited))
    if numbers is None:
        assert failure is None
    else:
        assert failure.startswith("OpenVINO int8 CPU ")
        assert all(number in failure for number in numbers)


def test_without_an_int8_row_the_gate_fails(report):
    limited = replace(report.recommendation, max_drop_pp=1.0)
    assert gate_failure(replace(report, rows=report.rows[:4], recommendation=limited)) is not None
