"""Where a long job writes until its output is complete, so that it can be continued after an interruption."""

from collections.abc import Iterable
from pathlib import Path

from overfly.runtime.errors import OutputError
from overfly.runtime.files.output_guards import check_inputs_safe, check_overwrite


def unfinished_folder(out: Path) -> Path:
    """Return the folder next to `out` that holds the work until `out` is complete."""
    out = out.absolute()
    return out.with_name(f"{out.name}.unfinished")


def check_unfinished(out: Path, what: str, inputs: Iterable[Path], *, resume: bool, overwrite: bool) -> None:
    """Check that the unfinished folder of an output may be used.

    Parameters
    ----------
    out
        The output.
    what
        What it is, such as ``run``.
    inputs
        What the job reads. What is in the unfinished folder is deleted at once, while what is at `out` stays until the
        job is complete.
    resume, overwrite
        Whether to continue an unfinished job, or to start again.

    Raises
    ------
    OutputError
        If the folder holds an input, or an unfinished job that is neither to be continued nor replaced.
    """
    folder = unfinished_folder(out)
    check_inputs_safe(folder, inputs)
    if folder.exists() and not (resume or overwrite):
        raise OutputError(
            f"{folder} holds an unfinished {what}: add --resume to continue it, or --overwrite to start again"
        )


def check_still_free(out: Path, what: str, *, overwrite: bool) -> None:
    """Check that nothing has appeared at an output since its job began, maybe hours before.

    Raises
    ------
    OutputError
        If something has appeared.
    """
    try:
        check_overwrite(out, overwrite=overwrite)
    except OutputError as error:
        raise OutputError(
            f"something appeared at {out} meanwhile; the {what} is complete in {unfinished_folder(out)}: move what "
            "appeared and repeat the command with --resume, or replace it with --resume --overwrite"
        ) from error
