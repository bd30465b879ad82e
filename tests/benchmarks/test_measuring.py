"""Statistics, selection and timing: each figure to the digit, with a clock and backends of known speed and errors."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from overfly.benchmarks.answer import choose, gate_failure
from overfly.benchmarks.probe import Probe
from overfly.benchmarks.report import ALL_IMAGES, OK, TEST_PART, Environment, LoadTimes, Raw, Stretch
from overfly.benchmarks.rows import Identity, choose_baseline, compare_rows, make_row
from overfly.benchmarks.selection import calibration_overlap, select_scenes
from overfly.benchmarks.statistics import drift, mcnemar_exact_p, summarise_latency, wilson_interval
from overfly.benchmarks.timing import Plan, measure
from overfly.benchmarks.verdict import Evidence, judge
from overfly.runtime.errors import DataError
from overfly.training.dataset import Dataset, Scene

PLAN = Plan(n_rounds=2, latency_samples=4, latency_floor=2, latency_limit_s=1.0, stream_min_s=0.01, n_warmup=1)


class Clock:
    """Time that passes only when a backend works."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns


class Fake:
    """A model that takes a known time, and is wrong for known images (their first pixel is their index)."""

    def __init__(self, clock, *, latency_ms, stream_ms, wrong=(), breaks_at=None):
        self.clock, self.latency_ms, self.stream_ms, self.wrong = clock, latency_ms, stream_ms, wrong
        self.breaks_at, self.n_inferred = breaks_at, 0

    def infer(self, image):
        self.n_inferred += 1
        if self.n_inferred == self.breaks_at:
            raise RuntimeError("source.cpp:1\nout of memory")
        self.clock.now_ns += round(self.latency_ms * 1e6)
        return self.answer(image[0])[np.newaxis]

    def stream(self, images):
        for image in images:
            self.clock.now_ns += round(self.stream_ms * 1e6)
            yield self.answer(image)

    def answer(self, image):
        index = int(image[0, 0, 0])
        logits = np.zeros(2, np.float32)
        logits[(index % 2) ^ (index in self.wrong)] = 1
        return logits


def images(n):
    return np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)


def test_known_speeds_and_errors_come_out_to_the_digit():
    clock = Clock()
    right = Fake(clock, latency_ms=8, stream_ms=5)
    wrong = Fake(clock, latency_ms=2, stream_ms=1.25, wrong={3, 8})
    first, second = measure([right, wrong], images(10), PLAN, clock=clock)
    assert first.predictions.tolist() == [0, 1] * 5
    assert np.flatnonzero(second.predictions != first.predictions).tolist() == [3, 8]
    assert first.latency_rounds_ms == [(8.0,) * 4] * 2
    assert second.latency_rounds_ms == [(2.0,) * 4] * 2
    rates = [[s.n_images / s.seconds for s in row.throughput_rounds] for row in (first, second)]
    assert rates == [pytest.approx([200, 200]), pytest.approx([800, 800])]


def test_a_slow_row_stops_early_but_not_below_its_floor():
    clock = Clock()
    (row,) = measure([Fake(clock, latency_ms=700, stream_ms=1)], images(4), PLAN, clock=clock)
    assert [len(samples) for samples in row.latency_rounds_ms] == [2, 2]


def test_a_row_that_fails_keeps_its_reason_and_the_others_go_on():
    clock = Clock()
    broken = Fake(clock, latency_ms=1, stream_ms=1, breaks_at=3)
    first, second = measure([broken, Fake(clock, latency_ms=1, stream_ms=1)], images(4), PLAN, clock=clock)
    assert first.problem == "failed while it was measured: out of memory"
    assert first.raw() == Raw((), (), ())
    assert second.problem is None
    assert second.predictions.tolist() == [0, 1, 0, 1]


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40))
def test_a_summary_is_what_the_samples_say(samples):
    summary = summarise_latency(samples)
    ordered = sorted(samples)
    position = 0.5 * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    assert summary.p50 == pytest.approx(ordered[low] + (ordered[high] - ordered[low]) * (position - low))
    assert summary.mean == pytest.approx(sum(samples) / len(samples))
    assert summary.n == len(samples)
    assert summary.p99 is None


def test_p99_needs_a_thousand_samples():
    assert summarise_latency([1.0] * 999).p99 is None
    assert summarise_latency(np.arange(1001.0).tolist()).p99 == 990
    with pytest.raises(ValueError, match="needs at least one"):
        summarise_latency([])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact_p(b, c) == pytest.approx(expected)


@given(st.integers(1, 2000), st.data())
def test_wilson_is_scipys(n, data):
    k = data.draw(st.integers(0, n))
    theirs = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_drift_is_the_spread_by_the_median():
    assert drift([1.0, 1.1, 1.2]) == pytest.approx(0.2 / 1.1)
    assert drift([5.0]) == 0


def row_of(predictions, truth, *, backend="openvino", variant="int8", ms=1.0):
    identity = Identity(backend, variant, "CPU", "a CPU", "auto", "f32", 1024)
    raw = Raw(tuple(predictions), ((ms,) * 1000,), (Stretch(1000, ms),))
    probe = Probe(LoadTimes(10.0, 2.0), 3.0, 4096)
    return make_row(identity, raw, np.array(truth), n_classes=3, probe=probe), raw


def compared(*specs, truth):
    rows, raws = zip(*(row_of(p, truth, **options) for p, options in specs), strict=True)
    baseline = choose_baseline(rows)
    return compare_rows(rows, raws, np.array(truth), baseline), raws, baseline


TRUTH = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
BASE = ([*TRUTH[:9], 1], {"backend": "pytorch", "variant": "fp32", "ms": 10.0})
LOSES_TWO = ([1, 2, *TRUTH[2:9], 1], {"ms": 2.0})


def test_a_row_says_what_it_lost_in_points_and_in_images():
    rows, _, baseline = compared(BASE, LOSES_TWO, truth=TRUTH)
    assert baseline == 0
    assert rows[0].delta_images is None
    assert rows[0].accuracy == 0.9
    assert (rows[1].delta_images, rows[1].agreement, rows[1].mcnemar_p) == (-2, 0.8, 0.5)
    assert rows[1].delta_accuracy_pp == pytest.approx(-20)
    assert rows[1].latency_ms.p99 == 2.0
    assert rows[1].throughput_ips == pytest.approx(500)
    assert rows[1].load_ms == LoadTimes(10.0, 2.0)


def test_the_answer_keeps_the_limit_and_the_gate_names_who_misses_it():
    rows, _, baseline = compared(BASE, LOSES_TWO, truth=TRUTH)
    chosen = choose(rows, baseline, None)
    assert (chosen.latency.variant, chosen.latency.device) == ("int8", "CPU")
    assert "2.0 ms (p50, 5.0 times as fast as PyTorch fp32)" in chosen.sentence
    assert choose(rows, baseline, 0.5).latency is None
    for limit, failure in [(0.5, "OpenVINO int8 CPU loses 20.00 points of accuracy"), (25.0, None), (None, None)]:
        report = SimpleNamespace(answer=choose(rows, baseline, limit), rows=rows)
        assert (gate_failure(report) or "").startswith(failure or "")
        assert (gate_failure(report) is None) == (failure is None)


def environment(**changes):
    quiet = Environment("Linux", "a CPU", 2, 1 << 34, "mains", 0.01, {"python": "3.11"}, "2026-01-01T00:00:00+00:00")
    return replace(quiet, **changes)


def verdict_of(rows, raws, *, quick=False, n_calibration=0, **changes):
    return judge(Evidence(rows, raws, quick, environment(**changes), n_calibration))


def test_the_verdict_is_valid_only_when_nothing_speaks_against_it():
    rows, raws, _ = compared(BASE, LOSES_TWO, truth=TRUTH)
    assert verdict_of(rows, raws).valid
    for changes, words in [
        ({"busy_fraction": 0.5}, "the machine was busy"),
        ({"power_source": "battery"}, "battery"),
        ({"n_calibration": 3}, "3 of the judged images were also used to calibrate"),
    ]:
        verdict = verdict_of(rows, raws, **changes)
        assert not verdict.valid
        assert [words in reason.what for reason in verdict.reasons] == [True]
        assert verdict.reasons[0].remedy
    assert "baseline is missing" in verdict_of(rows[1:], raws[1:]).reasons[0].what
    few = replace(rows[1], latency_ms=replace(rows[1].latency_ms, n=999))
    assert "too few latency samples: 999" in verdict_of([rows[0], few], raws).reasons[0].what
    drifting = replace(raws[1], latency_rounds_ms=((2.0,), (2.5,)))
    assert "the rounds differ by up to 22%" in verdict_of(rows, [raws[0], drifting]).reasons[0].what


def dataset(tmp_path, names):
    classes = tuple(sorted({name.partition("/")[0] for name in names}))
    scenes = tuple(Scene(name, classes.index(name.partition("/")[0]), f"hash-{name}") for name in names)
    return Dataset(tmp_path, classes, scenes, ())


def manifest(test, calibration=()):
    variants = {"int8": SimpleNamespace(calibration=SimpleNamespace(sha256=calibration))}
    return SimpleNamespace(classes=("beach", "forest"), provenance=SimpleNamespace(test_sha256=test), variants=variants)


def test_the_test_part_is_found_by_content_and_nothing_else_is_judged(tmp_path):
    data = dataset(tmp_path, ["beach/a", "beach/b", "forest/c"])
    source, scenes = select_scenes(data, manifest(["hash-forest/c", "hash-beach/a"]))
    assert source == TEST_PART
    assert [(s.name, s.label) for s in scenes] == [("forest/c", 1), ("beach/a", 0)]


def test_half_a_test_part_is_an_error_and_none_of_it_another_data_set(tmp_path):
    data = dataset(tmp_path, ["forest/c", "forest/d"])
    with pytest.raises(DataError, match="lacks 1 of the 2 test images"):
        select_scenes(data, manifest(["hash-forest/c", "gone"]))
    source, scenes = select_scenes(data, manifest(["gone"], calibration=("hash-forest/d",)))
    assert source == ALL_IMAGES
    # The folder's class 0 is the bundle's class 1: matched by name.
    assert [(s.name, s.label) for s in scenes] == [("forest/c", 1), ("forest/d", 1)]
    assert calibration_overlap(manifest([], calibration=("hash-forest/d",)), scenes) == 1


def test_an_unknown_class_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"the class swamp of .* is none of the bundle's 2 classes"):
        select_scenes(dataset(tmp_path, ["swamp/a", "beach/b"]), manifest([]))


def test_every_row_carries_the_keys_of_the_format():
    row, _ = row_of(TRUTH, TRUTH)
    keys = {field.name for field in dataclasses.fields(row)}
    assert keys >= {
        "backend", "variant", "device", "execution_precision", "accuracy", "f1_macro", "kappa", "n_images",
        "accuracy_ci95", "delta_accuracy_pp", "mcnemar_p", "agreement", "latency_ms", "throughput_ips", "load_ms",
        "size_bytes", "peak_rss_bytes", "status",
    }  # fmt: skip
    assert row.status == OK
