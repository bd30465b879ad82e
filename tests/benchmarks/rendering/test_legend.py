"""The legend names the constants of the code."""

import pytest

from overfly.benchmarks.measurement.probe import N_PROBE_IMAGES
from overfly.benchmarks.models.loaders import BATCH
from overfly.benchmarks.rendering.legend import LEGEND
from overfly.benchmarks.results.row_records import SIGNIFICANCE
from overfly.benchmarks.results.statistics import MIN_SAMPLES_P99
from overfly.runtime.evaluation.intervals import N_RESAMPLES


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("Accuracy", f" {N_RESAMPLES:,} "),
        ("Accuracy", f" {SIGNIFICANCE} "),
        ("Latency", f" {MIN_SAMPLES_P99:,} "),
        ("Throughput", f" {BATCH}."),
        ("Threads", f" {BATCH}."),
        ("Load and memory", f" {N_PROBE_IMAGES} "),
    ],
)
def test_an_entry_has_the_figure_that_the_code_uses(name, figure):
    assert figure in dict(LEGEND)[name]


def test_each_entry_has_a_name_and_one_line():
    assert len(dict(LEGEND)) == len(LEGEND) == 11
    assert all(name and text.endswith(".") and "\n" not in name + text for name, text in LEGEND)
