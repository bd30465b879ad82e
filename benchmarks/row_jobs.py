"""The rows of a bench on their way: load each model, and measure all."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from overfly.benchmarks.measurement.probe import probe
from overfly.benchmarks.measurement.timing import FAILURES, FULL, QUICK, ImageSource, measure
from overfly.benchmarks.models.candidates import Candidate
from overfly.benchmarks.models.loaders import LoadedModel, loader_of
from overfly.benchmarks.results.row_records import OK, Measurements, Probe, Quality, Row
from overfly.benchmarks.results.rows import judge, make_row, medians_ms, rates_ips
from overfly.benchmarks.results.statistics import Labels
from overfly.runtime.errors import last_line
from overfly.runtime.reporter import Reporter

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class RowJob:
    """A row on its way through the bench: each step fills in what it finds.

    Attributes
    ----------
    candidate
        What to measure.
    images
        What it infers.
    status
        ``ok`` until a step fails, then the reason.
    probe, loaded, measurements
        What the steps found; None before.
    quality
        How well the row classifies, once `row` was called with measurements: later rounds add no predictions.
    """

    candidate: Candidate
    images: ImageSource
    status: str = OK
    probe: Probe | None = None
    loaded: LoadedModel | None = None
    measurements: Measurements | None = None
    quality: Quality | None = None

    def probe_loading(self) -> None:
        """Measure load times and memory in a child process."""
        self.probe = probe(self.candidate.load)

    def load(self) -> None:
        """Load the model, or note why it can't be loaded."""
        start = time.monotonic()
        try:
            self.loaded = loader_of(self.candidate.load).load()
        except FAILURES as error:
            # An error's own text may be empty: then this returns the name of its class.
            self.status = last_line(error)
            return
        seconds, execution = time.monotonic() - start, self.loaded.execution
        name, precision = self.candidate.spec.name, execution.execution_precision
        _LOGGER.info("loaded %s on %s in %.1f s: computed in %s", name, execution.device, seconds, precision)

    def row(self, truth: Labels, *, n_classes: int) -> Row:
        """Return the row, not yet compared with the baseline; `truth` has the class indices, int64 ``[N]``."""
        execution = self.candidate.planned_execution if self.loaded is None else self.loaded.execution
        if self.measurements is None:
            return Row(self.candidate.spec, execution, self.status, probe=self.probe)
        if self.quality is None:
            self.quality = judge(self.measurements, truth, n_classes=n_classes)
        return make_row(
            self.candidate.spec,
            execution,
            self.measurements,
            truth,
            n_classes=n_classes,
            probe=self.probe,
            quality=self.quality,
        )


def for_each(jobs: Sequence[RowJob], task: str, step: Callable[[RowJob], None], reporter: Reporter) -> None:
    """Take a step with every row that has not failed, one after the other."""
    reporter.progress(task, 0, len(jobs))
    for done, job in enumerate(jobs, start=1):
        if job.status == OK:
            step(job)
        reporter.progress(task, done, len(jobs))


def measure_all(
    jobs: Sequence[RowJob],
    is_settled: Callable[[], bool] | None,
    reporter: Reporter,
) -> None:
    """Measure every model that was loaded.

    Parameters
    ----------
    jobs
        Their measurements are filled in. The time limit of a full bench grows with the number of their bundles.
    is_settled
        Whether the measurements of the jobs are enough, as in `measure`. None measures as little as a quick bench does.
    reporter
        After the first block of a full bench, the remaining time is noted.
    """
    n_bundles = len({job.candidate.load.bundle for job in jobs})
    plan = QUICK if is_settled is None else replace(FULL, limit_s=n_bundles * FULL.limit_s)
    loaded = {i: job.loaded for i, job in enumerate(jobs) if job.loaded is not None}
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        reporter.progress("measuring", done, total)
        if done * plan.n_blocks == total and is_settled is not None:
            block_s = time.monotonic() - start
            most_s = max(0.0, plan.limit_s - block_s)
            least_s = min(most_s, block_s * (plan.n_blocks - 1))
            reporter.note(f"the first block of rounds is done; {least_s / 60:.0f} to {most_s / 60:.0f} min left")

    def keep(results: Sequence[Measurements | str]) -> None:
        for i, result in zip(loaded, results, strict=True):
            if isinstance(result, str):
                jobs[i].status, jobs[i].measurements = result, None
            else:
                jobs[i].measurements = result

    def are_settled(results: Sequence[Measurements | str]) -> bool:
        keep(results)
        return is_settled is None or is_settled()

    models, images = list(loaded.values()), [jobs[i].images for i in loaded]
    keep(measure(models, images, plan, is_settled=are_settled if is_settled else None, progress=progress))
    for job in jobs:
        if job.measurements is not None:
            _log_rounds(job.candidate, job.measurements)


def _log_rounds(candidate: Candidate, measurements: Measurements) -> None:
    """Log the figures of each round."""
    figures = zip(medians_ms(measurements.latency_rounds_ms), rates_ips(measurements.throughput_rounds), strict=True)
    for number, (p50_ms, ips) in enumerate(figures, start=1):
        name, device = candidate.spec.name, candidate.load.device
        _LOGGER.debug("round %d of %s on %s: p50 %.2f ms, %.1f images/s", number, name, device, p50_ms, ips)
