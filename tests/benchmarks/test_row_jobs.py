"""Loading and measuring the rows of a bench: what fails, and what is said meanwhile."""

from functools import partial

import numpy as np
import pytest

from overfly.benchmarks.measurement.timing import measure
from overfly.benchmarks.models.candidates import Candidate
from overfly.benchmarks.models.loaders import LoadedModel, LoadSpec
from overfly.benchmarks.results.row_records import Execution
from overfly.benchmarks.row_jobs import RowJob, measure_all
from overfly.runtime.reporter import SILENT, Reporter


@pytest.mark.parametrize(
    "error", [RuntimeError(), MemoryError(), OSError("libmodel.so: cannot open"), ImportError("no symbol")]
)
def test_a_row_that_can_not_be_loaded_says_why_whatever_its_library_raises(error, monkeypatch):
    def loader_of(_):
        raise error

    monkeypatch.setattr("overfly.benchmarks.row_jobs.loader_of", loader_of)
    job = RowJob(Candidate(LoadSpec(backend="openvino", variant="int8", bundle="bundle"), 1024), images=None)
    job.load()
    row = job.row(np.array([0]), n_classes=2)
    assert row.status == (str(error) or type(error).__name__)
    assert (row.spec.variant, row.execution.requested_precision, row.quality) == ("int8", "auto", None)


class Noted(Reporter):
    """Keeps what is noted."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_a_full_bench_asks_whether_it_is_enough_with_the_measurements_of_its_rows(fake, images, clock, monkeypatch):
    monkeypatch.setattr("overfly.benchmarks.row_jobs.measure", partial(measure, clock=clock))
    candidate = Candidate(LoadSpec(backend="openvino", variant="int8", bundle="bundle"), 1024)
    good, bad = (RowJob(candidate, images(28)) for _ in "ab")
    for job, breaks_at in ((good, None), (bad, 3)):
        model = fake(latency_ms=8, stream_ms=5, breaks_at=breaks_at)
        job.loaded = LoadedModel(model.infer, model.stream, Execution("CPU", "a CPU", "auto"))
    asked = []

    def is_settled():
        asked.append((len(good.measurements.latency_rounds_ms), bad.status))
        return len(asked) == 2

    reporter = Noted()
    measure_all([good, bad], is_settled, reporter)
    assert asked == [(n, "failed while it was measured: out of memory") for n in (70, 80)]
    assert len(good.measurements.predictions) == 28
    assert (good.status, bad.measurements) == ("ok", None)
    assert len(reporter.notes) == 1


def test_the_figures_of_each_round_are_logged_at_level_debug(fake, images, clock, caplog, monkeypatch):
    monkeypatch.setattr("overfly.benchmarks.row_jobs.measure", partial(measure, clock=clock))
    job = RowJob(Candidate(LoadSpec(backend="openvino", variant="int8", bundle="bundle"), 1024), images(10))
    model = fake(latency_ms=8, stream_ms=5)
    job.loaded = LoadedModel(model.infer, model.stream, Execution("CPU", "a CPU", "auto"))
    with caplog.at_level("DEBUG", "overfly"):
        measure_all([job], None, SILENT)
    assert [record.args[0] for record in caplog.records] == [1, 2, 3]
    assert caplog.messages[1] == "round 2 of OpenVINO int8 on CPU: p50 8.00 ms, 200.0 images/s"


def test_several_bundles_have_as_many_times_the_time_of_one(images, monkeypatch):
    limits = []

    def note_limit(_models, _images, plan, **_):
        limits.append(plan.limit_s)
        return []

    monkeypatch.setattr("overfly.benchmarks.row_jobs.measure", note_limit)
    for names in ("a", "aab", "abcd"):
        loads = [LoadSpec(backend="openvino", variant="int8", bundle=name) for name in names]
        measure_all([RowJob(Candidate(load, 1024), images(10)) for load in loads], lambda: True, SILENT)
    assert limits == [340, 2 * 340, 4 * 340]
