"""From raw measurements to figures: known ones, and drawn ones against their definitions."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overfly.benchmarks.results.packed import pack
from overfly.benchmarks.results.row_records import (
    Execution,
    LoadTimes,
    Measurements,
    Ratio,
    RowSpec,
    ThroughputSample,
)
from overfly.benchmarks.results.rows import choose_baseline, compare_rows, make_row


def test_a_row_says_what_it_lost_in_points_and_in_images(compared, baseline_row, int8_row):
    (base, row), baseline = compared(baseline_row, int8_row)
    assert baseline == 0
    assert base.difference is None
    assert base.quality.accuracy.value == 0.9
    assert row.speed.latency_ms.p99 == 2.0
    assert row.speed.throughput_ips == pytest.approx(500)
    assert row.speed.file_latency_ms.p50 == 5.0
    assert row.speed.file_throughput_ips == pytest.approx(50)
    assert row.probe.load_ms == LoadTimes(10.0, 2.0)
    difference = row.difference
    assert (difference.images, difference.agreement, difference.mcnemar_p) == (-2, 0.8, 0.5)
    assert difference.accuracy_pp == pytest.approx(-20)
    assert (
        difference.latency_speedup
        == difference.throughput_speedup
        == Ratio(pytest.approx(5.0), pytest.approx((5.0, 5.0)))
    )


def test_without_pytorch_in_eager_mode_the_first_plain_fp32_row_is_the_baseline(row_of, baseline_row, int8_row):
    compiled = row_of(backend="pytorch", variant="fp32", configuration="compiled")
    plain = row_of(backend="onnxruntime", variant="fp32")
    assert choose_baseline([compiled, plain, baseline_row]) == 2
    assert choose_baseline([compiled, plain, int8_row]) == 1
    assert choose_baseline([int8_row]) is None


MILLISECONDS = st.floats(0.01, 1e3)
SECONDS = st.floats(1e-3, 10)


@st.composite
def measurements(draw):
    """Draw a truth and what two rows measured in the same rounds."""
    truth = draw(st.lists(st.integers(0, 2), min_size=1, max_size=30))
    n_rounds = draw(st.integers(1, 9))

    def rounds(of):
        return tuple(draw(st.lists(of, min_size=n_rounds, max_size=n_rounds)))

    def raw():
        samples = st.lists(MILLISECONDS, min_size=1, max_size=8).map(tuple)
        sample = st.builds(ThroughputSample, st.integers(1, 500), SECONDS)
        predictions = draw(st.lists(st.integers(0, 2), min_size=len(truth), max_size=len(truth)))
        logits = tuple(pack(np.eye(3, dtype=np.float32)[label]) for label in predictions)
        timed = [rounds(of) for of in (samples, sample, samples, sample)]
        return Measurements(tuple(predictions), logits, *timed)

    return truth, raw(), raw()


def quantile(samples, share):
    """The definition: linear between the ordered samples."""
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@settings(max_examples=20)
@given(measurements())
def test_every_figure_can_be_computed_again_from_the_raw_samples(drawn):
    truth, base_raw, raw = drawn
    spec, execution = RowSpec("openvino", "int8", "", 1), Execution("CPU", "a CPU", "auto", "f32", 2)
    pair = [make_row(spec, execution, r, np.array(truth), n_classes=3) for r in (base_raw, raw)]
    _, row = compare_rows(pair, np.array(truth), 0)
    speed, difference = row.speed, row.difference
    n = len(truth)
    for latency, rounds in (
        (speed.latency_ms, raw.latency_rounds_ms),
        (speed.file_latency_ms, raw.file_latency_rounds_ms),
    ):
        samples = [sample for part in rounds for sample in part]
        mean = sum(samples) / len(samples)
        assert (latency.n, latency.p99) == (len(samples), None)
        assert latency.p50 == pytest.approx(quantile(samples, 0.5))
        assert latency.p90 == pytest.approx(quantile(samples, 0.9))
        assert latency.mean == pytest.approx(mean)
        if len(samples) > 1:
            variance = sum((s - mean) ** 2 for s in samples) / (len(samples) - 1)
            assert latency.std == pytest.approx(variance**0.5, abs=1e-9)
    for rate, stretches in (
        (speed.throughput_ips, raw.throughput_rounds),
        (speed.file_throughput_ips, raw.file_throughput_rounds),
    ):
        assert rate == pytest.approx(sum(s.n_images for s in stretches) / sum(s.seconds for s in stretches))
    ratios = [
        quantile(b, 0.5) / quantile(a, 0.5)
        for a, b in zip(raw.latency_rounds_ms, base_raw.latency_rounds_ms, strict=True)
    ]
    speedup = difference.latency_speedup
    logs = [math.log(ratio) for ratio in ratios]
    averages = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(logs, 2)]
    assert speedup.value == pytest.approx(math.exp(quantile(averages, 0.5)))
    # Seven rounds have an interval: the smallest and the largest average. Fewer have none.
    assert (speedup.ci95 is None) == (len(ratios) < 7)
    if len(ratios) == 7:
        assert speedup.ci95 == pytest.approx((min(ratios), max(ratios)))
    right = [p == t for p, t in zip(raw.predictions, truth, strict=True)]
    base_right = [p == t for p, t in zip(base_raw.predictions, truth, strict=True)]
    assert row.quality.accuracy.value == pytest.approx(sum(right) / n)
    assert difference.images == sum(right) - sum(base_right)
    assert difference.accuracy_pp == pytest.approx(100 * difference.images / n)
    assert difference.agreement == pytest.approx(
        sum(a == b for a, b in zip(raw.predictions, base_raw.predictions, strict=True)) / n
    )
    ones = [float(np.exp(1 if p == t else 0)) for p, t in zip(raw.predictions, truth, strict=True)]
    assert row.quality.nll.value == pytest.approx(sum(math.log((math.e + 2) / one) for one in ones) / n)
    # All images have the same confidence, so they are in the same bin.
    assert row.quality.ece.value == pytest.approx(abs(sum(right) / n - math.e / (math.e + 2)))
    low, high = row.quality.accuracy.ci95
    assert 0 <= low <= row.quality.accuracy.value + 1 / n
    assert row.quality.accuracy.value - 1 / n <= high <= 1


def test_of_several_bundles_the_most_accurate_reference_is_the_baseline(row_of):
    def row(bundle, backend, *wrong):
        found = row_of(wrong, backend=backend, variant="fp32")
        return replace(found, spec=replace(found.spec, bundle=bundle))

    # OpenVINO's fp32 of the small bundle is more accurate than all, but the reference of that bundle is PyTorch.
    small = [row("small", "pytorch", 0, 1), row("small", "openvino")]
    large = [row("large", "onnxruntime", 0), row("large", "openvino", 0)]
    assert choose_baseline([*small, *large]) == 2
    assert choose_baseline([*large, *small]) == 0
    # The first of equally accurate ones.
    assert choose_baseline([*small, row("large", "pytorch", 5, 6)]) == 0
