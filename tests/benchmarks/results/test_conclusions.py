"""When the ratios of a bench are certain, and whether their intervals then contain the truth."""

from dataclasses import replace

import numpy as np
import pytest

from overfly.benchmarks.measurement.timing import FULL, ImageSource, measure
from overfly.benchmarks.results.conclusions import conclude
from overfly.benchmarks.results.row_records import Execution, RowSpec
from overfly.benchmarks.results.rows import judge, make_row

TRUTH = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


def test_the_ratios_are_those_to_the_baseline_and_to_the_next_best(row_of, baseline_row, int8_row):
    fp16 = row_of(variant="fp16", ms=4.0)
    ratios = dict(conclude([baseline_row, fp16, int8_row], TRUTH, None).ratios())
    assert {name: ratio.value for name, ratio in ratios.items()} == pytest.approx(
        {
            "speed of OpenVINO fp16 CPU by latency": 2.5,
            "speed of OpenVINO fp16 CPU by throughput": 2.5,
            "speed of OpenVINO int8 CPU by latency": 5.0,
            "speed of OpenVINO int8 CPU by throughput": 5.0,
            "speed of the recommended row against OpenVINO fp16 CPU by latency": 2.0,
            "speed of the recommended row against OpenVINO fp16 CPU by throughput": 2.0,
        }
    )


@pytest.mark.parametrize(("last_ms", "are_certain"), [(1.82, True), (1.815, False)])
def test_they_are_certain_if_each_is_known_within_five_percent(baseline_row, int8_row, last_ms, are_certain):
    rounds = ((2.0,),) * 6 + ((last_ms,),)
    changed = replace(int8_row, measurements=replace(int8_row.measurements, latency_rounds_ms=rounds))
    assert conclude([baseline_row, changed], TRUTH, None).are_certain() is are_certain


def test_without_an_interval_they_are_not_certain(baseline_row, int8_row):
    few = [
        replace(row, measurements=replace(row.measurements, rounds_set_aside=(0, 1)))
        for row in (baseline_row, int8_row)
    ]
    assert not conclude(few, TRUTH, None).are_certain()


class BusyMachine:
    """A clock of a machine that gets slower while it is measured, and on which another program runs now and then.

    All work takes up to 30% longer after the shortest bench; during a burst, twice as long. A burst lasts as long as a
    round, on average, and comes about once in ten rounds. Besides, each piece of work takes 2% to 20% more or less.
    """

    SHORTEST_BENCH_S = 10.0
    ROUND_S = 0.5

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.now_s = 0.0
        self.burst_from_s, self.burst_to_s = self._next_burst()
        self.noise = self.random.lognormal(sigma=self.random.uniform(0.02, 0.2), size=4096).tolist()
        self.n_done = int(self.random.integers(4096))
        self.drift_per_s = float(self.random.uniform(0.0, 0.3)) / self.SHORTEST_BENCH_S

    def _next_burst(self):
        start_s = self.now_s + self.random.exponential(10 * self.ROUND_S)
        return start_s, start_s + self.random.exponential(self.ROUND_S)

    def __call__(self):
        return round(self.now_s * 1e9)

    def work(self, ms):
        """Let the time pass that some work takes now."""
        self.n_done += 1
        speed = self.noise[self.n_done % 4096] * (1 + self.drift_per_s * self.now_s)
        if self.now_s > self.burst_to_s:
            self.burst_from_s, self.burst_to_s = self._next_burst()
        elif self.now_s > self.burst_from_s:
            speed *= 2
        self.now_s += ms * speed / 1e3


class Model:
    """A model that takes a known time for an image, on average."""

    def __init__(self, clock, ms):
        self.clock, self.ms = clock, ms
        self.logits = np.eye(3, dtype=np.float32)[:1]

    def infer(self, _image):
        self.clock.work(self.ms)
        return self.logits

    def stream(self, images):
        for _ in images:
            self.clock.work(self.ms)
            yield self.logits[0]


BASELINE = RowSpec("pytorch", "fp32", "", 1)
SPECS_MS = {BASELINE: 40.0, RowSpec("openvino", "fp16", "", 1): 12.0, RowSpec("openvino", "int8", "", 1): 8.0}
# What the ratios are in truth: twice the same numbers, because a stream has the same speed as single images.
TRUE_RATIOS = (40 / 12, 40 / 12, 40 / 8, 40 / 8, 12 / 8, 12 / 8)
# Fewer rounds than a full bench, with fewer samples: the test is shorter, and looks at the intervals more often.
SHORT = replace(
    FULL,
    n_rounds=20,
    latency_samples=5,
    file_latency_samples=1,
    stream_min_s=0.05,
    file_stream_min_s=0.01,
    n_warmup=0,
)


def simulate(seed):
    """Return the conclusions of a bench on a busy machine."""
    clock = BusyMachine(seed)
    pixels = np.zeros((10, 1, 1, 3), np.uint8)
    truth = np.zeros(10, np.int64)
    execution = Execution("CPU", "a CPU", "auto", "f32", 2)

    qualities = []

    def conclude_from(results):
        # Their predictions are the same, and remain so.
        qualities[:] = qualities or [judge(results[0], truth, n_classes=3)]
        rows = [
            make_row(spec, execution, measurements, truth, n_classes=3, quality=qualities[0])
            for spec, measurements in zip(SPECS_MS, results, strict=True)
        ]
        return conclude(rows, truth, None)

    results = measure(
        [Model(clock, ms) for ms in SPECS_MS.values()],
        [ImageSource(pixels, lambda index: pixels[index])] * 3,
        SHORT,
        clock=clock,
        is_settled=lambda results: conclude_from(results).are_certain(),
    )
    return conclude_from(results)


@pytest.mark.slow
def test_of_a_thousand_benches_with_drift_and_bursts_the_intervals_contain_the_true_ratios(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # a third of the time, and of no use here
    covered = np.zeros(len(TRUE_RATIOS))
    n_certain = n_longer = n_disturbed = 0
    for seed in range(1000):
        conclusions = simulate(seed)
        measurements = conclusions.rows[0].measurements
        n_longer += len(measurements.latency_rounds_ms) > SHORT.n_rounds + len(measurements.rounds_set_aside)
        n_disturbed += bool(measurements.rounds_set_aside)
        intervals = [ratio.ci95 for _, ratio in conclusions.ratios()]
        covered += [low <= truth <= high for truth, (low, high) in zip(TRUE_RATIOS, intervals, strict=True)]
        n_certain += conclusions.are_certain()
    assert (covered / 1000).min() >= 0.93
    assert n_certain >= 950
    # Otherwise neither rule was tested.
    assert n_longer >= 200
    assert n_disturbed >= 50
