"""The records of one row: what may not be missing."""

from dataclasses import replace

import pytest

from overfly.benchmarks.results.row_records import Ratio


@pytest.mark.parametrize(
    "change", [{"predictions": ()}, {"latency_rounds_ms": ()}, {"file_latency_rounds_ms": ((1.0,), ())}]
)
def test_a_row_that_is_ok_has_all_its_measurements(int8_row, change):
    with pytest.raises(ValueError, match="OpenVINO int8 CPU"):
        replace(int8_row, measurements=replace(int8_row.measurements, **change))


@pytest.mark.parametrize(
    ("ratio", "half_width", "is_significant"),
    [
        (Ratio(2.0, (1.9, 2.1)), 0.05, True),
        (Ratio(0.5, (0.4, 0.9)), 0.5, True),
        (Ratio(1.0, (0.9, 1.1)), 0.1, False),
        (Ratio(2.0, None), None, False),
    ],
)
def test_a_ratio_is_significant_if_its_interval_leaves_out_one(ratio, half_width, is_significant):
    assert ratio.half_width == (None if half_width is None else pytest.approx(half_width))
    assert ratio.is_significant is is_significant


def test_rounds_that_are_set_aside_are_not_counted(int8_row):
    assert int8_row.measurements.counted == int8_row.measurements
    counted = replace(int8_row.measurements, rounds_set_aside=(0, 5)).counted
    assert [len(counted.latency_rounds_ms), len(counted.throughput_rounds)] == [5, 5]
    assert [len(counted.file_latency_rounds_ms), len(counted.file_throughput_rounds)] == [7, 7]
    assert counted.predictions == int8_row.measurements.predictions


def test_a_row_that_is_ok_has_its_figures(int8_row):
    with pytest.raises(ValueError, match="OpenVINO int8 CPU"):
        replace(int8_row, quality=None)


def test_the_backend_of_a_row_is_known(int8_row):
    with pytest.raises(ValueError, match="'tvm'"):
        replace(int8_row.spec, backend="tvm")
