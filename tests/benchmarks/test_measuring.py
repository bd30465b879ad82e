"""Statistics, selection and timing: each figure to the digit, with a clock and backends of known speed and errors."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from overfly.benchmarks.job import _load_all
from overfly.benchmarks.measurement.evaluation_images import (
    calibration_overlap,
    find_calibration_images,
    select_images,
    subsample,
)
from overfly.benchmarks.measurement.timing import measure
from overfly.benchmarks.models.backends import BATCH, BatchBackend
from overfly.benchmarks.results.recommendation import choose, gate_failure
from overfly.benchmarks.results.records import (
    ALL_IMAGES,
    OK,
    TEST_PART,
    Judged,
    LoadTimes,
    Measurements,
    Probe,
    Ratio,
    ThroughputSample,
)
from overfly.benchmarks.results.rows import Identity, choose_baseline, compare_rows, make_row
from overfly.benchmarks.results.statistics import (
    drift,
    mcnemar_exact_p,
    paired_ratio,
    summarize_latency,
)
from overfly.benchmarks.results.validity import Evidence, judge
from overfly.runtime.errors import DataError
from overfly.runtime.reporter import SILENT
from overfly.training.data.dataset import Dataset, LabelledImage


def test_known_speeds_and_errors_come_out_to_the_digit(clock, fake, pictures, plan):
    right = fake(latency_ms=8, stream_ms=5)
    wrong = fake(latency_ms=2, stream_ms=1.25, wrong={3: 0, 8: 1})
    first, second = measure([right, wrong], pictures(10), plan, clock=clock)
    assert first.predictions.tolist() == [0, 1] * 5
    assert np.flatnonzero(second.predictions != first.predictions).tolist() == [3, 8]
    assert first.latency_rounds_ms == [(8.0,) * 4] * 2
    assert second.latency_rounds_ms == [(2.0,) * 4] * 2
    rates = [[s.n_images / s.seconds for s in row.throughput_rounds] for row in (first, second)]
    assert rates == [pytest.approx([200, 200]), pytest.approx([800, 800])]


def test_from_file_to_label_the_decoding_counts_too(clock, fake, pictures, plan):
    (row,) = measure([fake(latency_ms=8, stream_ms=5)], pictures(10), plan, clock=clock)
    # Three milliseconds to decode, eight to infer.
    assert row.file_latency_rounds_ms == [(11.0,) * 3] * 2
    # The clock of a test adds up what threads do side by side: each image costs 3 + 5 milliseconds.
    assert [s.n_images / s.seconds for s in row.file_throughput_rounds] == pytest.approx([125, 125])


def test_a_slow_row_stops_early_but_not_below_its_floor(clock, fake, pictures, plan):
    (row,) = measure([fake(latency_ms=700, stream_ms=1)], pictures(4), plan, clock=clock)
    assert [len(samples) for samples in row.latency_rounds_ms] == [2, 2]


def test_a_row_that_fails_keeps_its_reason_and_the_others_go_on(clock, fake, pictures, plan):
    rows = [fake(latency_ms=1, stream_ms=1, breaks_at=3), fake(latency_ms=1, stream_ms=1)]
    first, second = measure(rows, pictures(4), plan, clock=clock)
    assert first.problem == "failed while it was measured: out of memory"
    assert first.raw() == Measurements()
    assert second.problem is None
    assert second.predictions.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "error", [RuntimeError(), MemoryError(), OSError("libmodel.so: cannot open"), ImportError("no symbol")]
)
def test_a_row_that_can_not_be_loaded_says_so_whatever_its_library_raises(error):
    def load():
        raise error

    (reason,) = _load_all([SimpleNamespace(load=load)], SILENT)
    assert reason == (str(error) or type(error).__name__)


def test_rows_take_turns_so_that_a_slow_spell_hurts_all_alike(clock, fake, pictures, plan):
    turns = []
    rows = [fake(latency_ms=1, stream_ms=1), fake(latency_ms=1, stream_ms=1)]
    for name, row in zip("ab", rows, strict=True):
        infer = row.infer
        row.infer = lambda image, infer=infer, name=name: (turns.append(name), infer(image))[1]
    measure(rows, pictures(4), plan, clock=clock)
    # A warm-up and four samples of the model, a warm-up and three from files; in both rounds.
    assert "".join(turns) == (5 * "a" + 5 * "b" + 4 * "a" + 4 * "b") * 2


def test_a_stream_is_run_in_batches_and_a_fixed_shape_is_filled_up():
    images = np.arange(BATCH + 3, dtype=np.uint8).reshape(-1, 1, 1, 1)
    for always_full, sizes in ((False, [BATCH, 3]), (True, [BATCH, BATCH])):
        seen = []

        def run(batch, seen=seen):
            seen.append(len(batch))
            return batch.reshape(len(batch), 1).astype(np.float32)

        logits = list(BatchBackend(run, always_full=always_full).stream(iter(images)))
        assert np.concatenate(logits).tolist() == list(range(BATCH + 3))
        assert seen == sizes


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40))
def test_a_summary_is_what_the_samples_say(samples):
    summary = summarize_latency(samples)
    ordered = sorted(samples)
    position = 0.5 * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    assert summary.p50 == pytest.approx(ordered[low] + (ordered[high] - ordered[low]) * (position - low))
    assert summary.mean == pytest.approx(sum(samples) / len(samples))
    assert summary.n == len(samples)
    assert summary.p99 is None


def test_p99_needs_a_thousand_samples():
    assert summarize_latency([1.0] * 999).p99 is None
    assert summarize_latency(np.arange(1001.0).tolist()).p99 == 990
    with pytest.raises(ValueError, match="needs at least one"):
        summarize_latency([])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact_p(b, c) == pytest.approx(expected)


def test_a_ratio_is_paired_by_round_and_significant_when_all_rounds_agree():
    # The machine was half as fast in the last round, for both.
    assert paired_ratio([10.0, 11.0, 20.0], [5.0, 5.0, 10.0]) == Ratio(2.0, 2.0, 2.2)
    assert paired_ratio([10.0, 11.0], [5.0, 5.0]).is_significant
    assert not paired_ratio([10.0, 9.0], [9.0, 10.0]).is_significant
    with pytest.raises(ValueError, match="needs at least one"):
        paired_ratio([], [])


def test_drift_is_the_spread_by_the_median():
    assert drift([1.0, 1.1, 1.2]) == pytest.approx(0.2 / 1.1)
    assert drift([5.0]) == 0


def row_of(predictions, truth, *, backend="openvino", variant="int8", configuration="", ms=1.0):
    identity = Identity(backend, variant, configuration, "CPU", "a CPU", "auto", 1024, "f32", 2)
    samples, stretches = ((ms,) * 500,) * 2, (ThroughputSample(500, ms / 2),) * 2
    raw = Measurements(tuple(predictions), samples, stretches, ((ms + 3,),) * 2, (ThroughputSample(100, ms),) * 2)
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
    assert rows[1].file_latency_ms.p50 == 5.0
    assert rows[1].file_throughput_ips == pytest.approx(50)
    assert rows[1].latency_speedup == Ratio(5.0, 5.0, 5.0)
    assert rows[1].throughput_speedup == Ratio(5.0, 5.0, 5.0)
    assert rows[0].latency_speedup is None
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


def test_only_what_predict_can_run_is_recommended():
    peer = (TRUTH, {"configuration": "from ONNX", "variant": "fp32", "ms": 0.1})
    other = (TRUTH, {"backend": "onnxruntime", "ms": 0.2})
    rows, _, baseline = compared(BASE, peer, other, LOSES_TWO, truth=TRUTH)
    chosen = choose(rows, baseline, None)
    assert (chosen.latency.variant, chosen.sentence[:19]) == ("int8", "Deploy int8 on CPU:")
    assert choose(rows[:3], baseline, None).sentence == "No variant can be recommended: none worked."


def test_without_pytorch_in_eager_mode_the_first_plain_fp32_row_is_the_baseline():
    compiled = (TRUTH, {"backend": "pytorch", "variant": "fp32", "configuration": "compiled"})
    plain = (TRUTH, {"backend": "onnxruntime", "variant": "fp32"})
    assert compared(compiled, plain, BASE, truth=TRUTH)[2] == 2
    assert compared(compiled, plain, LOSES_TWO, truth=TRUTH)[2] == 1
    assert compared(LOSES_TWO, truth=TRUTH)[2] is None


@pytest.fixture
def verdict_of(machine):
    """A function that judges rows, on a quiet machine unless changes are given."""

    def call(rows, raws, *, quick=False, n_calibration=0, n_available=10, **changes):
        images = Judged(TEST_PART, n_available, ("a",) * 10, (0,) * 10, "0")
        return judge(Evidence(rows, raws, quick, machine(**changes), images, n_calibration))

    return call


def test_the_verdict_is_valid_only_when_nothing_speaks_against_it(verdict_of):
    rows, raws, _ = compared(BASE, LOSES_TWO, truth=TRUTH)
    assert verdict_of(rows, raws).valid
    for changes, words in [
        ({"busy_fraction": 0.5}, "the machine was busy before it began: 50%"),
        ({"busy_during_fraction": 0.16}, "the machine was busy with other work: 16%"),
        ({"power_source": "battery"}, "battery"),
        ({"power_saving": "the battery saver of Windows"}, "saving power: the battery saver of Windows"),
        ({"n_calibration": 3}, "3 of the judged images were also used to calibrate"),
        ({"n_available": 420}, "10 of 420 images were judged"),
        ({"quick": True}, "torch.compile, load times and memory were not measured"),
    ]:
        verdict = verdict_of(rows, raws, **changes)
        assert not verdict.valid
        assert [words in reason.what for reason in verdict.reasons] == [True]
        assert verdict.reasons[0].remedy
    assert "baseline is missing" in verdict_of(rows[1:], raws[1:]).reasons[0].what
    few = replace(rows[1], latency_ms=replace(rows[1].latency_ms, n=999))
    assert "too few latency samples: 999" in verdict_of([rows[0], few], raws).reasons[0].what
    enough = replace(rows[0], latency_ms=replace(rows[0].latency_ms, n=100))
    assert verdict_of([enough, rows[1]], raws).valid
    drifting = replace(raws[1], latency_rounds_ms=((2.0,), (2.5,)))
    assert "the rounds differ by up to 22%" in verdict_of(rows, [raws[0], drifting]).reasons[0].what


def dataset(tmp_path, names):
    classes = tuple(sorted({name.partition("/")[0] for name in names}))
    scenes = tuple(LabelledImage(name, classes.index(name.partition("/")[0]), f"hash-{name}") for name in names)
    return Dataset(tmp_path, classes, scenes, ())


def manifest(test, calibration=()):
    variants = {"int8": SimpleNamespace(calibration=SimpleNamespace(sha256=calibration))}
    return SimpleNamespace(classes=("beach", "forest"), provenance=SimpleNamespace(test_sha256=test), variants=variants)


def test_the_test_part_is_found_by_content_and_nothing_else_is_judged(tmp_path):
    data = dataset(tmp_path, ["beach/a", "beach/b", "forest/c"])
    source, scenes = select_images(data, manifest(["hash-forest/c", "hash-beach/a"]))
    assert source == TEST_PART
    assert [(s.name, s.label) for s in scenes] == [("forest/c", 1), ("beach/a", 0)]


def test_half_a_test_part_is_an_error_and_none_of_it_another_data_set(tmp_path):
    data = dataset(tmp_path, ["forest/c", "forest/d"])
    with pytest.raises(DataError, match="lacks 1 of the 2 test images"):
        select_images(data, manifest(["hash-forest/c", "gone"]))
    source, scenes = select_images(data, manifest(["gone"], calibration=("hash-forest/d",)))
    assert source == ALL_IMAGES
    # The folder's class 0 is the bundle's class 1: matched by name.
    assert [(s.name, s.label) for s in scenes] == [("forest/c", 1), ("forest/d", 1)]
    assert calibration_overlap(manifest([], calibration=("hash-forest/d",)), scenes) == 1


def test_a_subset_is_even_seeded_and_in_order():
    scenes = [LabelledImage(f"{label}/{i}", label, f"{label}-{i}") for i in range(20) for label in (0, 0, 1)]
    few = subsample(scenes, 10)
    assert [s.label for s in few].count(0) == [s.label for s in few].count(1) == 5
    assert few == subsample(scenes, 10) != subsample(scenes, 10, seed=1)
    assert [scenes.index(s) for s in few] == sorted(scenes.index(s) for s in few)
    assert subsample(scenes, 60) == scenes
    assert sorted(s.label for s in subsample(scenes, 1)) == [0, 1]


def test_the_calibration_images_are_found_by_content(tmp_path):
    data = dataset(tmp_path, ["beach/a", "forest/c", "forest/d"])
    assert [s.name for s in find_calibration_images(data, manifest([], ("hash-forest/d", "hash-beach/a")))] == [
        "forest/d",
        "beach/a",
    ]
    with pytest.raises(DataError, match="lacks 1 of the 2 images that calibrated"):
        find_calibration_images(data, manifest([], ("gone", "hash-beach/a")))


def test_an_unknown_class_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"the class swamp of .* is none of the bundle's 2 classes"):
        select_images(dataset(tmp_path, ["swamp/a", "beach/b"]), manifest([]))


def test_every_row_carries_the_keys_of_the_format():
    row, _ = row_of(TRUTH, TRUTH)
    keys = {field.name for field in dataclasses.fields(row)}
    assert keys >= {
        "backend", "variant", "device", "execution_precision", "accuracy", "f1_macro", "kappa", "n_images",
        "accuracy_ci95", "delta_accuracy_pp", "mcnemar_p", "agreement", "latency_ms", "throughput_ips", "load_ms",
        "size_bytes", "peak_rss_bytes", "status",
    }  # fmt: skip
    assert row.status == OK
