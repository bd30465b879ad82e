"""Where a training writes until its run is complete, and what must not be overwritten."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.runtime.errors import OutputError
from overfly.runtime.files.output_guards import check_inputs_safe, check_overwrite, explain_os_errors
from overfly.runtime.files.replacing import remove, remove_partials
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
    check_inputs_safe(job.work, inputs)
    if job.work.exists() and not (resume or overwrite):
        raise OutputError(
            f"{job.work} holds an unfinished run: add --resume to continue it, or --overwrite to start again"
        )


def check_out_still_free(job: "TrainJob", *, overwrite: bool) -> None:
    """Raise OutputError if something has appeared at the output since `check_output`, hours before."""
    try:
        check_overwrite(job.out, overwrite=overwrite)
    except OutputError as error:
        raise OutputError(
            f"something appeared at {job.out} during the training; the run is complete in {job.work}: move what "
            "appeared and repeat the command with --resume, or replace it with --resume --overwrite"
        ) from error


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
