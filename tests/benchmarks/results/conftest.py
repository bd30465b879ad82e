"""Rows with known predictions and latencies."""

import numpy as np
import pytest

from overfly.benchmarks.results.packed import pack
from overfly.benchmarks.results.row_records import (
    Execution,
    LoadTimes,
    Measurements,
    Probe,
    RowSpec,
    ThroughputSample,
)
from overfly.benchmarks.results.rows import choose_baseline, compare_rows, make_row

# As many as an interval needs: it is then from the smallest to the largest.
N_ROUNDS = 7
TRUTH = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0)


@pytest.fixture
def row_of():
    """A function that makes a row for ten images, of which those in `wrong` are classified wrongly."""

    def call(wrong=(), *, backend="openvino", variant="int8", configuration="", ms=1.0):
        spec = RowSpec(backend, variant, configuration, 1024)
        predictions = tuple((label + 1) % 3 if i in wrong else label for i, label in enumerate(TRUTH))
        measurements = Measurements(
            predictions=predictions,
            logits=tuple(pack(2 * np.eye(3, dtype=np.float32)[label]) for label in predictions),
            latency_rounds_ms=((ms,) * 150,) * N_ROUNDS,
            throughput_rounds=(ThroughputSample(150, ms * 0.15),) * N_ROUNDS,
            file_latency_rounds_ms=((ms + 3,),) * N_ROUNDS,
            file_throughput_rounds=(ThroughputSample(25, ms / 4),) * N_ROUNDS,
        )
        probe = Probe(LoadTimes(10.0, 2.0), 3.0, 4096)
        execution = Execution("CPU", "a CPU", "auto", "f32", 2)
        return make_row(spec, execution, measurements, np.array(TRUTH), n_classes=3, probe=probe)

    return call


@pytest.fixture
def baseline_row(row_of):
    """PyTorch, which takes 10 ms and gets the last image wrong."""
    return row_of((9,), backend="pytorch", variant="fp32", ms=10.0)


@pytest.fixture
def int8_row(row_of):
    """OpenVINO's int8, which takes 2 ms and gets two more images wrong."""
    return row_of((0, 1, 9), ms=2.0)


@pytest.fixture
def compared():
    """A function that compares rows with their baseline and returns them with its index."""

    def call(*rows):
        baseline = choose_baseline(rows)
        return compare_rows(rows, np.array(TRUTH), baseline), baseline

    return call
