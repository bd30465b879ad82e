"""A training writes a complete run, and says beforehand what is wrong; a full disk loses nothing."""

import contextlib
import csv
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from overfly.runtime.documents import write_document
from overfly.runtime.errors import DataError, OutputError, RunError, SplitError, WeightsError
from overfly.runtime.evaluation.intervals import bootstrap_intervals
from overfly.runtime.evaluation.metrics import confusion_matrix, summarize
from overfly.runtime.images.reading import ImageReader
from overfly.runtime.inference.devices import describe_machine
from overfly.runtime.reporter import Reporter
from overfly.training.data.dataset import decode, scan
from overfly.training.data.notes import data_notes
from overfly.training.data.split import SPLIT_SCHEMA, make_split
from overfly.training.job import train
from overfly.training.loop.schedule import learning_rate
from overfly.training.loop.trainer import predict_logits
from overfly.training.messages import near_duplicate_notes, share_notes
from overfly.training.models.build import build_model
from overfly.training.recipe import override

pytestmark = pytest.mark.usefixtures("small_model")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(run):
    with (run.path / "history.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_files_of_a_run(finished):
    run, _ = finished
    names = " ".join(sorted(path.name for path in run.path.iterdir()))
    assert names == "checkpoint.safetensors confusion.png curves.png history.csv last run.json split.json"
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]
    for name in ("curves.png", "confusion.png"):
        with Image.open(run.path / name) as image:
            assert image.format == "PNG"
            assert len(image.convert("L").getcolors()) > 10


def test_run_json(finished, recipe):
    run, _ = finished
    content = read_json(run.path / "run.json")
    checkpoint, split = (
        hashlib.sha256((run.path / n).read_bytes()).hexdigest() for n in ("checkpoint.safetensors", "split.json")
    )
    assert content["schema"] == "overfly.run/5"
    assert content["model"] == "mobilenet_v2"
    assert content["classes"] == ["field", "harbor", "roofs"]
    assert content["image"] == {
        "size": 32,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "reduce_first": True,
    }
    assert content["recipe"] == dataclasses.asdict(recipe)
    assert (content["weights"], content["seed"]) == ("none", 5)
    assert content["checkpoint_sha256"] == checkpoint
    assert content["split_sha256"] == split
    assert content["metrics"]["n_images"] == 6
    # Only some of PyTorch's wheels have the "+cpu" of its own version in their metadata.
    assert content["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert content["device"] == "cpu"


def test_split_json(finished, scenes):
    run, _ = finished
    content = read_json(run.path / "split.json")
    assert (content["schema"], content["seed"]) == ("overfly.split/1", 5)
    assert (content["test_fraction"], content["val_fraction"]) == (0.25, 0.2)
    assert [file["name"] for file in content["files"]] == sorted(
        path.relative_to(scenes).as_posix() for path in scenes.rglob("*.png")
    )
    parts = [file["part"] for file in content["files"]]
    assert {part: parts.count(part) for part in parts} == {"train": 14, "val": 4, "test": 6}
    for file in content["files"]:
        assert file["sha256"] == hashlib.sha256((scenes / file["name"]).read_bytes()).hexdigest()


def test_history_csv(finished, recipe):
    run, _ = finished
    rows = rows_of(run)
    assert list(rows[0]) == ["epoch", "loss", "val_accuracy", "learning_rate", "images_per_second", "seconds"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["learning_rate"]) for row in rows] == [learning_rate(step, 3, recipe) for step in range(3)]
    for row in rows:
        assert float(row["val_accuracy"]) in {0, 0.25, 0.5, 0.75, 1}
        assert 0 < float(row["loss"]) < 5
        assert float(row["images_per_second"]) * float(row["seconds"]) == pytest.approx(14)


def test_the_metrics_are_those_of_the_kept_model_on_the_test_part(finished, scenes):
    run, _ = finished
    test_part = run.split().images("test")
    logits = predict_logits(run.load_model(), decode(scenes, test_part, ImageReader(32)))
    labels = np.array([scene.label for scene in test_part])
    assert summarize(confusion_matrix(labels, logits.argmax(axis=1), n_classes=3)) == run.record.metrics


def test_what_a_training_reports(finished):
    _, heard = finished
    stages = dict.fromkeys(stage for stage, _, _ in heard.stages)
    assert list(stages) == [
        "hashing",
        "decoding the train part",
        "decoding the val part",
        "decoding the test part",
        "all epochs",
        "epoch 1 of 3",
        "epoch 2 of 3",
        "epoch 3 of 3",
        "testing",
    ]
    last = {stage: (done, total) for stage, done, total in heard.stages}
    assert last["hashing"] == (24, 24)
    assert last["epoch 1 of 3"] == (1, 1)
    assert [(done, total) for stage, done, total in heard.stages if stage == "all epochs"] == [(1, 4), (2, 4), (4, 4)]
    assert last["testing"] == (6, 6)
    assert [note.split("  ")[0] for note in heard.notes[:3]] == ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]
    row = r"epoch 1 of 3  loss \d\.\d{4}  validation accuracy \d+\.\d\d%  images/s \d+\.\d  time left \d+ s"
    assert re.fullmatch(row, heard.notes[0])
    assert heard.notes[2].endswith("time left 0 s")
    assert heard.notes[3:] == [
        "the probabilities are a rough estimate, because the validation part has fewer than 10 images (it has 4)"
    ]


def test_run_json_has_the_intervals_the_confusions_and_the_place(finished, scenes):
    record = finished[0].record
    test_part = finished[0].split().images("test")
    answers = predict_logits(finished[0].load_model(), decode(scenes, test_part, ImageReader(32))).argmax(axis=1)
    confusion = confusion_matrix(np.array([scene.label for scene in test_part]), answers, n_classes=3)
    assert record.intervals == bootstrap_intervals(confusion)
    assert len(record.most_confused) == min(3, np.count_nonzero(confusion - np.diag(np.diag(confusion))))
    for pair in record.most_confused:
        truth, predicted = record.classes.index(pair.truth), record.classes.index(pair.taken_for)
        assert (pair.n_images, pair.n_true) == (confusion[truth, predicted], 2)
    assert record.near_duplicates == ()
    assert record.machine == describe_machine()
    assert record.seconds == pytest.approx(sum(float(row["seconds"]) for row in rows_of(finished[0])))


def test_a_training_is_repeatable_and_leaves_chance_alone(finished, make_job, recipe):
    before = torch.get_rng_state()
    again = train(make_job(), resume=True)  # there is nothing to resume, so it begins
    assert torch.equal(torch.get_rng_state(), before)
    assert again.record.checkpoint_sha256 == finished[0].record.checkpoint_sha256
    assert again.record.recipe == recipe


def test_the_machine_stays_awake_from_the_first_hash_to_the_last_test_image(make_job, recipe, kept_awake):
    awake, when_awake = kept_awake("overfly.training.job"), {}

    class Watcher(Reporter):
        def progress(self, stage, *_):
            when_awake.setdefault(stage, bool(awake))

    train(make_job(recipe=override(recipe, epochs=1)), reporter=Watcher())
    assert when_awake["hashing"]
    assert when_awake["epoch 1 of 1"]
    assert when_awake["testing"]
    assert not awake


def test_without_a_validation_part_there_is_no_validation_accuracy(make_job, recipe, listener):
    heard = listener()
    run = train(make_job(recipe=override(recipe, val_fraction=0.0, epochs=1, ema_decay=0.0)), reporter=heard)
    assert [row["val_accuracy"] for row in rows_of(run)] == [""]
    assert "validation" not in heard.notes[0]
    assert {file.part for file in run.split().files} == {"train", "test"}


def test_a_split_can_be_used_again(finished, make_job, recipe):
    split_file = finished[0].path / "split.json"
    run = train(make_job(seed=77, split_file=split_file, recipe=override(recipe, epochs=1)))
    assert (run.path / "split.json").read_bytes() == split_file.read_bytes()
    assert run.record.split_sha256 == finished[0].record.split_sha256
    assert run.record.seed == 77
    assert run.record.checkpoint_sha256 != finished[0].record.checkpoint_sha256


def test_a_split_of_other_data_is_rejected(finished, make_job, make_folder):
    other = make_folder(seed=1)
    with pytest.raises(SplitError, match=r"field/field00\.png"):
        train(make_job(data=other, split_file=finished[0].path / "split.json"))
    with pytest.raises(SplitError, match=r"absent\.json"):
        train(make_job(split_file=other / "absent.json"))


def test_a_weights_file_is_recorded_by_its_hash(make_job, recipe, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = build_model("mobilenet_v2", 1000).state_dict()
    torch.save(state, tmp_path / "w.pth")
    slow = override(recipe, epochs=1, learning_rate=1e-12, weight_decay=0.0)
    run = train(make_job(weights=str(tmp_path / "w.pth"), recipe=slow))
    assert run.record.weights == "sha256:" + hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    kept = run.load_model().model.state_dict()["features.1.conv.0.0.weight"]
    assert torch.allclose(kept, state["features.1.conv.0.0.weight"], atol=1e-6)


@pytest.mark.parametrize("meanwhile", ["moved", pytest.param("replaced", marks=pytest.mark.slow)])
def test_a_weights_file_is_needed_at_the_start_alone(make_job, recipe, tmp_path, meanwhile):
    path = tmp_path / "w.pth"
    torch.save(build_model("mobilenet_v2", 1000).state_dict(), path)
    read = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()

    class Meddler(Reporter):
        def progress(self, stage, *_):
            if stage.startswith("epoch") and meanwhile == "moved":
                path.unlink(missing_ok=True)
            elif stage.startswith("epoch"):
                path.write_bytes(b"other weights")

    job = make_job(weights=str(path), recipe=override(recipe, epochs=1))
    assert train(job, reporter=Meddler()).record.weights == read
    assert not path.exists() or path.read_bytes() == b"other weights"


def test_stray_files_and_equal_images_are_noted(make_job, make_folder, listener):
    folder = make_folder()
    (folder / "roofs" / "notes.txt").touch()
    (folder / "roofs" / "Thumbs.db").touch()
    (folder / "field" / "twin.png").write_bytes((folder / "field" / "field03.png").read_bytes())
    heard = listener(stop_at="epoch 1")
    with pytest.raises(KeyboardInterrupt):
        train(make_job(data=folder), reporter=heard)
    assert len(heard.notes) == 2
    assert heard.notes == data_notes(scan(folder))


def test_errors_that_are_found_before_anything_is_written(make_job, tmp_path, recipe):
    absent = tmp_path / "absent"
    for changes, error, named in [
        ({"data": absent}, DataError, absent),
        ({"weights": str(absent)}, WeightsError, absent),
        ({"device": "tpu"}, RunError, "'tpu'"),
        ({"recipe": override(recipe, model="alexnet")}, RunError, "alexnet can't take 32 x 32 pixels"),
    ]:
        with pytest.raises(error) as caught:
            train(make_job(**changes))
        assert str(named) in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def cut(folder, name):
    """Truncate an image; return the data folder."""
    path = folder / name
    path.write_bytes(path.read_bytes()[:300])
    return folder


def named_in(run, part):
    return run.split().images(part)[0].name


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_an_image_that_can_not_be_read_is_named_before_the_training(finished, make_job, make_folder, part, listener):
    """The split goes by position, so that the same seed puts the same names into the same parts."""
    name = named_in(finished[0], part)
    heard = listener()
    with pytest.raises(DataError, match=name.rpartition("/")[2]):
        train(make_job(data=cut(make_folder(), name)), reporter=heard)
    assert [note for note in heard.notes if note.startswith("epoch")] == []


def test_after_an_image_was_repaired_the_same_command_works(finished, make_job, make_folder, recipe, scenes):
    name = named_in(finished[0], "train")
    folder = cut(make_folder(), name)
    job = make_job(data=folder, recipe=override(recipe, epochs=1))
    with pytest.raises(DataError):
        train(job)
    (folder / name).write_bytes((scenes / name).read_bytes())
    assert train(job).record.metrics.n_images == 6


def test_names_that_are_not_ascii(make_job, make_folder, recipe):
    folder = make_folder("mes données", classes=("forêt", "baseball diamond"), n_images=6)
    job = make_job(data=folder, recipe=override(recipe, epochs=1))
    run = train(dataclasses.replace(job, out=job.out.with_name("résultat 1")))
    assert run.record.classes == ("baseball diamond", "forêt")
    assert run.split().images("train")[0].name.startswith("baseball diamond/baseball diamond0")


def test_near_duplicates_in_two_parts_are_noted_once(make_job, make_folder, recipe, listener):
    folder = make_folder(n_images=10)
    for label in ("field", "harbor", "roofs"):
        for i in range(1, 10):
            with Image.open(folder / label / f"{label}00.png") as image:
                image.rotate(90 * (i % 4)).point([min(255, v + i) for v in range(256)] * 3).save(
                    folder / label / f"{label}{i:02d}.png"
                )
    job = make_job(data=folder, recipe=override(recipe, epochs=2))
    heard = listener(stop_at="epoch 1 of 2  ")
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=heard)
    *pairs, more, _ = heard.notes
    first, first_part, second, second_part = re.fullmatch(
        r"(\S+) \((train|val)\) and (\S+) \((val|test)\) .*", pairs[0]
    ).groups()
    assert len(pairs) == 3
    n_more = int(re.match(r"(\d+) more ", more)[1])
    again = listener()
    run = train(job, resume=True, reporter=again)
    assert not any("near-duplicates" in note for note in again.notes)
    parts = {file.name: file.part for file in run.split().files}
    assert len(run.record.near_duplicates) == n_more + 3
    listed = {(pair.first, pair.first_part, pair.second, pair.second_part) for pair in run.record.near_duplicates}
    assert (first, first_part, second, second_part) in listed
    for pair in run.record.near_duplicates:
        assert (parts[pair.first], parts[pair.second]) == (pair.first_part, pair.second_part)
        assert pair.first_part != pair.second_part


def test_small_shares_of_a_batch_are_noted_once(make_job, recipe, listener):
    job = make_job(recipe=override(recipe, batch_size=8, batch_shares=2, epochs=2))
    heard = listener(stop_at="epoch 1 of 2  ")
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=heard)
    assert heard.notes[0] == share_notes(job.recipe)[0]
    again = listener()
    train(job, resume=True, reporter=again)
    assert heard.notes[0] not in again.notes


def test_near_duplicates_that_were_not_searched_for_are_noted(make_job, recipe, listener, monkeypatch):
    monkeypatch.setattr("overfly.training.near_duplicates.MAX_PAIRS", 1)
    heard = listener()
    run = train(make_job(recipe=override(recipe, epochs=1)), reporter=heard)
    assert [heard.notes[0]] == near_duplicate_notes(None)
    assert run.record.near_duplicates is None


def test_the_recipe_of_a_run_has_the_fractions_of_its_split(finished, make_job, recipe):
    changed = override(recipe, epochs=1, test_fraction=0.5, val_fraction=0.1)
    run = train(make_job(recipe=changed, split_file=finished[0].path / "split.json"))
    assert (run.record.recipe.test_fraction, run.record.recipe.val_fraction) == (0.25, 0.2)


def test_a_training_keeps_the_memory_that_it_frees(make_job, recipe, listener, monkeypatch):
    kept = []

    @contextlib.contextmanager
    def recorded():
        kept.append(True)
        yield
        kept.clear()

    class Watching(listener):
        def row(self, _cells):
            self.notes.append("kept" if kept else "given back")

    monkeypatch.setattr("overfly.training.job.keep_freed_memory", recorded)
    heard = Watching()
    train(make_job(recipe=override(recipe, epochs=1)), reporter=heard)
    assert heard.notes[0] == "kept"


@contextlib.contextmanager
def full_disk(n_written):
    """Inside the block, the disk is full after a number of files."""
    left = iter(range(n_written))

    def fsync(descriptor, real=os.fsync):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


# First the split is written; each epoch writes its state and the history; the end writes six files.
@pytest.mark.parametrize(
    "n_written", [11, *(pytest.param(n_written, marks=pytest.mark.slow) for n_written in (0, 1, 2, 3, 6, 7))]
)
def test_a_full_disk_leaves_the_saved_state_and_says_what_to_do(finished, make_job, listener, n_written):
    job = make_job()
    with full_disk(n_written), pytest.raises(OutputError) as caught:
        train(job)
    assert str(caught.value) == (
        f"can't write to {job.work}: {os.strerror(errno.ENOSPC)}; the last saved state is intact: "
        "fix the problem, then rerun the same command with --resume"
    )
    assert not list(job.work.rglob("*.part"))
    heard = listener()
    run = train(job, resume=True, reporter=heard)
    assert run.record.checkpoint_sha256 == finished[0].record.checkpoint_sha256
    assert [row["epoch"] for row in rows_of(run)] == ["1", "2", "3"]
    n_epochs = min(n_written // 2, 3)
    assert {stage for stage, _, _ in heard.stages if stage.startswith("epoch")} == {
        f"epoch {i} of 3" for i in range(n_epochs + 1, 4)
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_limit_of_the_system_on_file_sizes_is_like_a_full_disk(finished, make_job, listener):
    import resource

    class Limiting(listener):
        def row(self, cells):
            if cells["epoch"] == "1 of 3":
                resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    job = make_job()
    try:
        with pytest.raises(OutputError, match=re.escape(str(job.work))):
            train(job, reporter=Limiting())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(job.work.rglob("*.part"))
    heard = listener()
    run = train(job, resume=True, reporter=heard)
    assert run.record.checkpoint_sha256 == finished[0].record.checkpoint_sha256
    assert heard.notes[0].endswith("after epoch 1 of 3")


def test_the_weights_of_the_best_epoch_are_kept_and_tested(make_job, recipe, scenes, listener, monkeypatch):
    weights = {}

    def accuracy(trainer, _part):
        if trainer.epoch == 2:
            weights.update({name: value.clone() for name, value in trainer.ema_model.model.state_dict().items()})
        return {1: 0.5, 2: 0.9, 3: 0.7}[trainer.epoch]

    monkeypatch.setattr("overfly.training.job._accuracy", accuracy)
    heard = listener()
    run = train(make_job(recipe=override(recipe, keep="best", learning_rate=0.02)), reporter=heard)
    model = run.load_model()
    temperature = run.record.temperature_scaling.temperature
    for name, value in model.model.state_dict().items():
        assert torch.equal(value, weights[name] / (temperature if name.startswith("classifier.") else 1)), name
    assert heard.notes[-2] == "keeping the weights of epoch 2, the best on the validation part"
    test_part = run.split().images("test")
    logits = predict_logits(model, decode(scenes, test_part, ImageReader(32)))
    labels = np.array([image.label for image in test_part])
    assert summarize(confusion_matrix(labels, logits.argmax(axis=1), n_classes=3)) == run.record.metrics


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("a fraction", "a new split of train or chips has one with --val-fraction 0.05"),
        ("a split", "divide the images into the parts train, val and test"),
    ],
)
def test_to_keep_the_best_epoch_needs_a_validation_part(make_job, recipe, scenes, tmp_path, given, advice):
    recipe, split_file = override(recipe, keep="best", val_fraction=0.0), None
    if given == "a split":
        split_file = tmp_path / "split.json"
        by_hand = dataclasses.replace(make_split(scan(scenes), test_fraction=0.25), seed=None)
        write_document(split_file, by_hand, schema=SPLIT_SCHEMA)
    job = make_job(recipe=recipe, split_file=split_file)
    with pytest.raises(RunError) as caught:
        train(job)
    assert str(caught.value) == (
        f"keep=best needs a validation part, and this split has none: {advice}; or use keep=last"
    )
    assert not job.work.exists()


def interrupted(job, listener):
    """Stop a training after its first epoch."""

    class Stopping(listener):
        def row(self, _cells):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=Stopping())
    return job


def test_a_change_of_the_data_is_named_when_a_training_is_resumed(make_job, make_folder, listener):
    folder = make_folder()
    job = interrupted(make_job(data=folder), listener)
    added, removed, altered = (folder / "harbor" / name for name in ("new.png", "harbor01.png", "harbor02.png"))
    content = {path: path.read_bytes() for path in (removed, altered)}
    added.write_bytes(content[removed] + b"?")
    removed.unlink()
    altered.write_bytes(content[altered] + b"?")
    with pytest.raises(RunError) as caught:
        train(job, resume=True)
    assert str(caught.value) == (
        f"{folder} has changed since the training in {job.work} was started: 1 file (harbor/new.png) added, 1 file "
        "(harbor/harbor01.png) removed, 1 file (harbor/harbor02.png) altered; undo that and repeat the command with "
        "--resume, or start again with --overwrite"
    )
    added.unlink()
    for path, before in content.items():
        path.write_bytes(before)
    assert train(job, resume=True).record.metrics.n_images == 6


@pytest.mark.parametrize("name", ["newclass", "dense_harbor"])
def test_a_class_of_copies_that_was_added_is_named_as_a_change(make_job, make_folder, listener, name):
    folder = make_folder(classes=("field", "dense harbor"))
    job = interrupted(make_job(data=folder), listener)
    # Each of its images is in another class as well, and the label of dense_harbor is that of "dense harbor".
    shutil.copytree(folder / "field", folder / name)
    with pytest.raises(RunError) as caught:
        train(job, resume=True)
    assert f"8 files ({name}/field00.png, " in str(caught.value)


def test_a_training_on_part_folders_uses_their_split(make_job, make_folder, recipe, listener):
    folder = make_folder()
    for class_folder in sorted(folder.iterdir()):
        for part, numbers in {"Training": range(5), "Testing": range(5, 8)}.items():
            (folder / part / class_folder.name).mkdir(parents=True)
            for i in numbers:
                name = f"{class_folder.name}0{i}.png"
                (class_folder / name).rename(folder / part / class_folder.name / name)
        class_folder.rmdir()
    heard = listener()
    run = train(make_job(data=folder, recipe=override(recipe, epochs=1)), reporter=heard)
    assert all(part in heard.notes[0] for part in ("Testing, Training", str(folder), "15 train, 0 val, 9 test"))
    assert run.record.classes == ("field", "harbor", "roofs")
    assert (run.record.recipe.test_fraction, run.record.recipe.val_fraction) == (9 / 24, 0.0)
    assert run.record.metrics.n_images == 9
    assert {image.name.split("/")[0] for image in run.split().images("test")} == {"Testing"}
    assert [image.label for image in run.split().images("test")] == [0] * 3 + [1] * 3 + [2] * 3


def test_labels_that_collide_are_rejected_before_anything_is_written(make_job, make_folder):
    job = make_job(data=make_folder(classes=("dense residential", "dense_residential", "forest")))
    with pytest.raises(DataError, match="dense_residential"):
        train(job)
    assert not job.work.exists()


def test_a_finished_run_whose_folder_is_in_use_says_where_it_is_and_resume_completes_it(make_job, monkeypatch):
    job = make_job()

    def refuse(_new, path):
        raise PermissionError(13, "Access is denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("overfly.training.job.replace_folder", refuse)
        with pytest.raises(OutputError) as caught:
            train(job)
    assert str(caught.value) == (
        f"can't write to {job.out}: Access is denied; the run is complete in {job.work}: close the program that has it "
        "open, then rerun the same command with --resume"
    )
    assert train(job, resume=True).path == job.out
    assert not job.work.exists()
