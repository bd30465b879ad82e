"""Whether a report is valid: one reason for each thing that is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from overfly.benchmarks.results.conclusions import conclude
from overfly.benchmarks.results.records import TEST_PART, BundleFacts, EvaluationSet
from overfly.benchmarks.results.row_records import Row
from overfly.benchmarks.results.validity import validate

TRUTH = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0)


@pytest.fixture
def validity(machine):
    """A function that checks rows, on a quiet machine unless changes are given."""

    def call(rows, *, quick=False, n_train=0, n_val=0, n_available=10, **changes):
        images = EvaluationSet(TEST_PART, n_available, ("a",) * 10, (0,) * 10, "0")
        names = dict.fromkeys(row.spec.bundle for row in rows)
        bundles = [BundleFacts(name, "0", "mobilenet_v2", 64, n_available, n_train, n_val) for name in names]
        conclusions = conclude(rows, np.array(TRUTH), None)
        found = validate(conclusions, images, machine(**changes), bundles=bundles, quick=quick)
        assert found.valid == (not found.reasons)
        assert all(reason.remedy for reason in found.reasons)
        return found

    return call


@pytest.fixture
def reasons(validity):
    """A function that returns the reasons against rows."""
    return lambda rows, **changes: [reason.what for reason in validity(rows, **changes).reasons]


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
def test_each_condition_is_a_reason_of_its_own(validity, baseline_row, int8_row, changes, fragment):
    rows = [baseline_row, int8_row]
    assert validity(rows).reasons == ()
    found = validity(rows, **changes)
    (reason,) = found.reasons
    assert fragment in reason.what
    assert len(found.passed) == len(validity(rows).passed) - 1


def test_the_baseline_must_be_there_and_work(reasons, baseline_row, int8_row):
    assert len(reasons([int8_row])) == 1
    failed = Row(baseline_row.spec, baseline_row.execution, "no torch here")
    (what,) = reasons([failed, int8_row])
    assert "no torch here" in what


def _with_samples(row, n):
    return replace(row, speed=replace(row.speed, latency_ms=replace(row.speed.latency_ms, n=n)))


def test_each_row_needs_the_samples_of_a_p90(reasons, baseline_row, int8_row):
    assert reasons([_with_samples(baseline_row, 100), _with_samples(int8_row, 100)]) == []
    (what,) = reasons([_with_samples(baseline_row, 99), int8_row])
    assert all(part in what for part in ("99", "PyTorch fp32", "100"))


def test_a_row_that_can_be_deployed_but_has_no_p99_is_observed(validity, baseline_row, int8_row):
    assert validity([_with_samples(baseline_row, 999), int8_row]).observations == ()
    found = validity([baseline_row, _with_samples(int8_row, 999)])
    assert found.valid
    (text,) = found.observations
    assert all(part in text for part in ("OpenVINO int8 CPU", "999", "1,000"))
    # Too few for any percentile are a reason, which need not be said twice.
    assert validity([baseline_row, _with_samples(int8_row, 99)]).observations == ()


def _with_latencies(row, *rounds_ms):
    """Return the row with one latency in each round."""
    return replace(row, measurements=replace(row.measurements, latency_rounds_ms=tuple((ms,) for ms in rounds_ms)))


def test_each_ratio_must_be_known_within_five_percent(validity, reasons, baseline_row, int8_row):
    # With seven rounds, the interval is the range of the ratios: 5.00 to 5.51, and 5.00 to 5.49.
    wide = [baseline_row, _with_latencies(int8_row, *[2.0] * 6, 1.815)]
    (what,) = reasons(wide)
    assert all(part in what for part in ("1 of 2", "OpenVINO int8 CPU by latency", "5.1%", "5%"))
    narrow = [baseline_row, _with_latencies(int8_row, *[2.0] * 6, 1.82)]
    assert any("4.9%" in text for text in validity(narrow).passed)


def test_so_must_be_the_lead_of_the_recommended_row(row_of, reasons, int8_row):
    rows = [row_of(backend="pytorch", variant="fp32", ms=10.0), int8_row, row_of(variant="fp16", ms=3.0)]
    # Both are known within 4.9% against the baseline, but not against each other.
    rows[1] = _with_latencies(rows[1], *[2.0] * 6, 1.83)
    rows[2] = _with_latencies(rows[2], 3.0 / 1.09, *[3.0] * 6)
    (what,) = reasons(rows)
    assert all(part in what for part in ("1 of 6", "OpenVINO fp16 CPU by latency"))


def test_a_quick_bench_has_no_intervals_to_judge(validity, baseline_row, int8_row):
    def in_two_rounds(row):
        return replace(row, measurements=replace(row.measurements, rounds_set_aside=(0, 1, 2, 3, 4)))

    rows = [in_two_rounds(baseline_row), in_two_rounds(int8_row)]
    found = validity(rows, quick=True)
    assert len(found.reasons) == 1
    assert not any("within" in text for text in found.passed)
    # A full one has.
    (reason,) = validity(rows).reasons
    assert reason.what == "too few rounds counted for the intervals of the speed ratios"
    assert validity([baseline_row]).valid


def test_a_change_of_speed_is_observed_but_no_reason(validity, baseline_row, int8_row):
    rows = [
        _with_latencies(row, *(ms * speed for speed in (1, 1, 1, 1, 1, 1, 1.5)))
        for row, ms in ((baseline_row, 10.0), (int8_row, 2.0))
    ]
    found = validity(rows)
    assert found.valid
    (text,) = found.observations
    assert "50%" in text
    assert validity([baseline_row, int8_row]).observations == ()


def test_rounds_set_aside_are_observed(validity, baseline_row, int8_row):
    rows = [
        replace(row, measurements=replace(row.measurements, rounds_set_aside=(3,))) for row in (baseline_row, int8_row)
    ]
    (text,) = validity(rows).observations
    assert "1 of 7 rounds" in text


def test_of_several_bundles_each_needs_its_pytorch_row_and_unseen_images(several, machine):
    def check(rows, images, *bundles):
        conclusions = conclude(rows, np.array(several.images.truth), None)
        return validate(conclusions, images, machine(), bundles=bundles, quick=False)

    found = check(several.rows, several.images, *several.bundles)
    assert found.valid
    assert "PyTorch was measured for each bundle" in found.passed
    assert any(text.endswith("no run has seen any of them") for text in found.passed)
    small, large = several.bundles
    reasons = check(several.rows[1:], several.images, small, replace(large, n_val=3)).reasons
    assert [reason.what for reason in reasons] == [
        "the PyTorch row of small is missing",
        "the run of large was validated on 3 of the 60 evaluated images",
    ]
    # Another split: an observation, and no reason.
    found = check(several.rows, several.images, replace(small, n_images=80), large)
    assert found.valid
    assert found.observations[0] == (
        "the runs have different test images (small 80, large 60): only the 60 in common were used"
    )
