"""Where a training writes until its run is complete, and what must not be overwritten."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.runtime.files.output_guards import check_inputs_safe, check_overwrite, explain_os_errors
from overfly.runtime.files.replacing import remove, remove_partials
from overfly.runtime.files.unfinished import check_unfinished
from overfly.training.loop.checkpoint import LAST
from overfly.training.run_layout import SPLIT_FILE

if TYPE_CHECKING:
    from overfly.training.job import TrainJob


def check_output(job: "TrainJob", *, resume: bool, overwrite: bool) -> None:
    """Raise OutputError if the run must not be written."""
    check_inputs_safe(job.out, [job.data])
    check_overwrite(job.out, overwrite=overwrite)
    # What is at `out` stays until the run is complete; what is in the work folder is deleted at once.
    inputs = [job.data, *([job.split_file] if job.split_file else [])]
    if job.weights not in {"imagenet", "none"}:
        inputs.append(Path(job.weights))
    check_unfinished(job.out, "run", inputs, resume=resume, overwrite=overwrite)


@contextmanager
def work_folder(job: "TrainJob", *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the work folder, and delete it at the end if nothing was written to it.

    If it can't be made, or another training has made it, that must not show after hours.
    """
    if resume:
        remove_partials(job.work)
    elif overwrite:
        remove(job.work)
    with explain_os_errors(job.work):
        job.work.mkdir(parents=True, exist_ok=resume)
    try:
        yield
    finally:
        with suppress(OSError):  # it is not empty
            if not (job.work / LAST).exists():  # there is no state to continue from
                remove(job.work / SPLIT_FILE)
            job.work.rmdir()
