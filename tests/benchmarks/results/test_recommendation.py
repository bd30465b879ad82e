"""What is recommended, and the gate of ``--max-drop``."""

from dataclasses import replace

import pytest

from overfly.benchmarks.results.recommendation import gate_failure, recommend
from overfly.benchmarks.results.records import Lead
from overfly.benchmarks.results.row_records import Ratio


def of(value):
    """A ratio that is the same in every round."""
    return Ratio(pytest.approx(value), pytest.approx((value, value)))


def test_the_fastest_row_whose_accuracy_is_good_enough_is_recommended(compared, baseline_row, int8_row):
    rows, baseline = compared(baseline_row, int8_row)
    best = recommend(rows, baseline, None)
    assert best.latency == best.throughput == 1
    assert best.sentence == (
        "Deploy int8 on CPU: 2.00 ms (p50, 5.0 times as fast as PyTorch fp32) and 500 images per second (5.0 times as "
        "fast as PyTorch fp32); accuracy 70.0%, 2 images fewer right than PyTorch fp32, not significant."
    )
    assert recommend(rows, baseline, 0.5).latency is None


def test_the_next_best_is_named_and_whether_the_lead_over_it_is_significant(compared, row_of, baseline_row, int8_row):
    fp16 = row_of(variant="fp16", ms=3.0)
    rows, baseline = compared(baseline_row, fp16, int8_row)
    best = recommend(rows, baseline, None)
    assert best.latency_lead == Lead("OpenVINO fp16 CPU", of(1.5))
    assert best.throughput_lead == Lead("OpenVINO fp16 CPU", of(1.5))
    assert "2.00 ms (p50, 5.0 times as fast as PyTorch fp32, 1.5 times as fast as OpenVINO fp16 CPU)" in best.sentence
    rows, baseline = compared(baseline_row, row_of(variant="fp16", ms=2.0), int8_row)
    assert "1.0 times as fast as OpenVINO int8 CPU, not significant" in recommend(rows, baseline, None).sentence


def test_a_next_best_that_is_the_baseline_is_named_once(compared, row_of, int8_row):
    rows, baseline = compared(row_of(variant="fp32", ms=4.0), int8_row)
    best = recommend(rows, baseline, None)
    assert best.latency_lead == Lead("OpenVINO fp32 CPU", of(2.0))
    assert best.sentence.startswith("Deploy int8 on CPU: 2.00 ms (p50, 2.0 times as fast as OpenVINO fp32 CPU) and ")


def test_only_what_predict_can_run_is_recommended(compared, row_of, baseline_row, int8_row):
    from_onnx = row_of(configuration="from ONNX", variant="fp32", ms=0.1)
    other = row_of(backend="onnxruntime", ms=0.2)
    rows, baseline = compared(baseline_row, from_onnx, other, int8_row)
    assert recommend(rows, baseline, None).latency == 3
    assert recommend(rows[:3], baseline, None).latency is None


def test_without_a_baseline_every_row_that_worked_qualifies(compared, int8_row):
    rows, baseline = compared(int8_row)
    assert baseline is None
    assert recommend(rows, None, 0.5).latency == 0


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


def test_without_an_int8_row_the_gate_fails(report, nothing_recommended):
    limited = replace(nothing_recommended, max_drop_pp=1.0)
    assert gate_failure(replace(report, rows=report.rows[:4], recommendation=limited)) is not None


@pytest.mark.parametrize(
    ("limit", "place", "ms"),
    # The small bundle has 8 of 60 more images wrong, which is significant.
    [(None, "int8 of large", "2.50"), (5.0, "int8 of large", "2.50"), (15.0, "fp32 of small", "2.00")],
)
def test_of_several_bundles_the_fastest_row_is_recommended_that_is_not_worse_than_the_most_accurate(
    make_several, limit, place, ms
):
    report = make_several(max_drop_pp=limit)
    best = report.recommendation
    assert report.rows[report.baseline].name == "large PyTorch fp32"
    assert report.rows[best.latency].place == f"{place} on CPU"
    assert best.sentence.startswith(f"Deploy {place} on CPU: {ms} ms (p50, ")
    assert "times as fast as large PyTorch fp32" in best.sentence


def test_the_next_best_may_be_of_another_bundle(make_several):
    best = make_several(max_drop_pp=15.0).recommendation
    assert best.latency_lead.next_best == "large OpenVINO int8 CPU"
    assert best.latency_lead.ratio.value == pytest.approx(1.25)


def test_of_several_bundles_the_gate_needs_one_int8_row_that_is_good_enough(make_several):
    assert gate_failure(make_several(max_drop_pp=2.0)) is None
    failure = gate_failure(make_several(max_drop_pp=1.0))
    assert failure.startswith("large OpenVINO int8 CPU loses 1.67 ")
