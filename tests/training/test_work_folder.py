"""What a training must not overwrite, and what becomes of its folder."""

import pathlib
import re
import shutil
import signal
import sys

import pytest

from overfly.runtime.errors import OutputError
from overfly.training.job import train
from overfly.training.recipe import override

pytestmark = pytest.mark.usefixtures("small_model")


def test_an_output_below_a_file_is_rejected(make_job, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file"))):
        train(make_job(out=tmp_path / "file" / "run"))


@pytest.mark.slow
def test_a_run_that_appeared_during_the_training_is_not_replaced(make_job, recipe, listener):
    job = make_job(recipe=override(recipe, epochs=2))

    class Other(listener):
        def row(self, _cells):
            job.out.mkdir(exist_ok=True)
            (job.out / "notes.txt").write_text("precious")

    with pytest.raises(OutputError) as caught:
        train(job, reporter=Other())
    assert str(caught.value) == (
        f"something appeared at {job.out} meanwhile; the run is complete in {job.work}: move what "
        "appeared and repeat the command with --resume, or replace it with --resume --overwrite"
    )
    assert (job.out / "notes.txt").read_text() == "precious"
    shutil.copytree(job.work, job.work.with_name("copy"))
    heard = listener()
    assert train(job, resume=True, overwrite=True, reporter=heard).record.metrics.n_images == 6
    job.out.rename(job.out.with_name("first"))
    job.work.with_name("copy").rename(job.work)
    assert train(job, resume=True, reporter=heard).record.metrics.n_images == 6
    assert sum(note.endswith("epoch 2 of 2") for note in heard.notes) == 2


def test_two_trainings_do_not_write_to_the_same_place(make_job, listener):
    job = make_job()

    class Other(listener):
        """Is as far as the other one, and makes the folder just before it."""

        def progress(self, stage, _done, _total):
            if stage == "hashing":
                job.work.mkdir(exist_ok=True)

    with pytest.raises(OutputError, match=re.escape(str(job.work))):
        train(job, reporter=Other())
    assert job.work.exists()
    with pytest.raises(OutputError, match=re.escape(str(job.work))):
        train(job)


def test_stopped_before_anything_was_saved_there_is_no_unfinished_run(make_job, listener):
    class Twice(listener):
        def progress(self, stage, _done, _total):
            if stage.startswith("epoch"):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    job = make_job()
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=Twice())
    assert not job.work.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a drive's topmost folder has its letter")
def test_the_topmost_folder_is_no_output(make_job):
    with pytest.raises(OutputError, match=r" /: "):
        train(make_job(out=pathlib.Path("/")), overwrite=True)


def test_a_link_in_the_data_is_in_the_data(make_job, make_folder, tmp_path):
    folder = make_folder()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=re.escape(str(folder / "link"))):
        train(make_job(data=folder, out=folder / "link"))


def test_no_input_is_given_up_for_the_output(make_job, make_folder, finished, tmp_path):
    weights = make_job().work / "weights.safetensors"
    weights.parent.mkdir()
    weights.write_bytes((finished[0].path / "checkpoint.safetensors").read_bytes())
    folder = make_folder("other.unfinished")
    for changes in (
        {"weights": str(weights)},
        {"split_file": make_job().work / "split.json"},
        {"data": folder, "out": tmp_path / "other"},
    ):
        job = make_job(**changes)
        with pytest.raises(OutputError) as caught:
            train(job, overwrite=True)
        assert str(job.work) in str(caught.value)
    assert weights.exists()
    assert (folder / "roofs" / "roofs07.png").exists()


def test_a_run_is_not_written_into_the_data(make_job, scenes):
    for out in (scenes / "run", scenes / "roofs" / "run"):
        with pytest.raises(OutputError, match=re.escape(str(out))):
            train(make_job(out=out))
    assert [path.name for path in sorted(scenes.iterdir())] == ["field", "harbor", "roofs"]


def test_a_folder_that_can_not_be_written_is_named_before_the_training(make_job, listener, monkeypatch):
    def fail(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "mkdir", fail)
    heard = listener()
    with pytest.raises(OutputError, match=r"run\.unfinished"):
        train(make_job(), reporter=heard)
    assert not any(stage.startswith("epoch") for stage, _, _ in heard.stages)
