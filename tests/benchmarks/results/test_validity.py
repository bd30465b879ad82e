"""Whether a report is valid: one reason for each thing that is wrong."""

from dataclasses import replace

import pytest

from overfly.benchmarks.results.records import TEST_PART, EvaluationSet
from overfly.benchmarks.results.row_records import Row
from overfly.benchmarks.results.validity import validate


@pytest.fixture
def reasons(machine):
    """A function that returns the reasons against rows, on a quiet machine unless changes are given."""

    def call(rows, *, quick=False, n_train=0, n_val=0, n_available=10, **changes):
        images = EvaluationSet(TEST_PART, n_available, n_train, n_val, ("a",) * 10, (0,) * 10, "0")
        validity = validate(rows, images, machine(**changes), quick=quick)
        assert validity.valid == (not validity.reasons)
        assert all(reason.remedy for reason in validity.reasons)
        return [reason.what for reason in validity.reasons]

    return call


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"load_before": 0.5}, "50.0%"),
        ({"load_during": 0.16}, "16.0%"),
        ({"power_source": "battery"}, "battery"),
        ({"power_saving": "some saver"}, "some saver"),
        ({"n_train": 3}, "trained on 3 of the 10 "),
        ({"n_val": 2}, "validated on 2 of the 10 "),
        ({"n_available": 420}, "10 of 420"),
        ({"quick": True}, "torch.compile"),
    ],
)
def test_each_condition_is_a_reason_of_its_own(compared, reasons, baseline_row, int8_row, changes, fragment):
    rows, _ = compared(baseline_row, int8_row)
    assert reasons(rows) == []
    (what,) = reasons(rows, **changes)
    assert fragment in what


def test_the_baseline_must_be_there_and_work(reasons, baseline_row, int8_row):
    assert len(reasons([int8_row])) == 1
    failed = Row(baseline_row.spec, baseline_row.execution, "no torch here")
    (what,) = reasons([failed, int8_row])
    assert "no torch here" in what


def _with_samples(row, n):
    return replace(row, speed=replace(row.speed, latency_ms=replace(row.speed.latency_ms, n=n)))


def test_only_a_row_that_can_be_deployed_needs_the_samples_of_a_p99(reasons, baseline_row, int8_row):
    (what,) = reasons([baseline_row, _with_samples(int8_row, 999)])
    assert all(part in what for part in ("999", "OpenVINO int8 CPU", "1,000"))
    assert reasons([_with_samples(baseline_row, 100), int8_row]) == []
    (what,) = reasons([_with_samples(baseline_row, 99), int8_row])
    assert all(part in what for part in ("99", "PyTorch fp32", "100"))


def test_the_rounds_may_differ_by_a_tenth(reasons, baseline_row, int8_row):
    changed = replace(int8_row, measurements=replace(int8_row.measurements, latency_rounds_ms=((2.0,), (2.22,))))
    (what,) = reasons([baseline_row, changed])
    assert all(part in what for part in ("10.4%", "p50 of OpenVINO int8 CPU", "10%"))
