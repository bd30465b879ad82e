"""Each row is trained once; an interrupted one is continued, and one without weights has a reason."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from overfly.benchmarks.paper.published import PUBLISHED_ROWS
from overfly.benchmarks.paper.reproduce import PaperJob, reproduce
from overfly.benchmarks.paper.table import NOT_TRAINED, TRAINED, paper_markdown
from overfly.runtime.errors import DataError, OutputError
from overfly.runtime.reporter import Reporter
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.run import Run

FIGURES = ("name", "status", "accuracy", "f1_macro", "kappa")


class Listener(Reporter):
    """Records the notes and how many epochs were trained; interrupts at the end of an epoch, counted from 1."""

    def __init__(self, stop_at=None):
        self.notes = []
        self.n_epochs = 0
        self.stop_at = stop_at

    def note(self, message):
        self.notes.append(message)

    def row(self, _cells):
        self.n_epochs += 1
        if self.n_epochs == self.stop_at:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True, scope="module")
def _offline(tmp_path_factory):
    """No network and no cached weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True, scope="module")
def _small_models(three_blocks):
    """Give MobileNetV2 few blocks."""
    with three_blocks():
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file for mobilenet_v2 in torchvision's format."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision_models().mobilenet_v2(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def make_job(tiny_data, weights):
    """A function that returns a job of one epoch with an output, and with changes."""

    def make(out, **changes):
        options = {"data": tiny_data, "weights": {"mobilenet_v2": str(weights)}, "epochs": 1, "image_size": 64}
        return PaperJob(out=out, **{**options, **changes})

    return make


@pytest.fixture(scope="module")
def reproduced(make_job, tmp_path_factory):
    """(The folder, the table and the listener of a reproduction.) Do not change the folder."""
    out, heard = tmp_path_factory.mktemp("paper") / "tables", Listener()
    return out, reproduce(make_job(out), reporter=heard), heard


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_trained_row_has_the_figures_of_its_run_and_another_has_the_reason(reproduced):
    out, table, heard = reproduced
    assert (table.epochs, table.image_size, table.seed) == (1, 64, 0)
    assert [row.name for row in table.rows] == [row.name for row in PUBLISHED_ROWS]
    assert heard.n_epochs == 2
    for row, published in zip(table.rows, PUBLISHED_ROWS, strict=True):
        if published.model == "mobilenet_v2":
            record = Run.open(out / row.name).record
            assert row.status == TRAINED
            assert row.accuracy == 100 * record.metrics.accuracy
            assert row.f1_macro == 100 * record.metrics.f1_macro
            assert row.kappa == 100 * record.metrics.kappa
            assert (row.machine, row.versions, row.seconds) == (record.machine, record.versions, record.seconds)
            assert record.recipe.learning_rate == 1e-5
        else:
            assert (row.accuracy, row.f1_macro, row.kappa, row.seconds) == (None,) * 4
            assert published.model in row.status
            assert f"{row.name}: {row.status}" in heard.notes
    assert Run.open(out / "mobilenet_v2-scratch").record.weights == "none"
    assert "sha256:" in Run.open(out / "mobilenet_v2").record.weights


def test_parameters_and_operations_are_counted_and_are_the_papers(reproduced):
    _, table, _ = reproduced
    counts = {row.name: (row.params, row.flops) for row in table.rows if not row.name.startswith("mobilenet_v2")}
    assert counts == {
        row.name: (row.params, row.flops) for row in PUBLISHED_ROWS if not row.name.startswith("mobilenet_v2")
    }


def test_the_table_is_written_as_json_and_as_markdown(reproduced):
    out, table, _ = reproduced
    content = json.loads((out / "paper.json").read_text(encoding="utf-8"))
    assert content["schema"] == "overfly.paper/2"
    assert [row["accuracy"] for row in content["rows"]] == [row.accuracy for row in table.rows]
    assert (out / "paper.md").read_text(encoding="utf-8") == paper_markdown(table)


@pytest.mark.slow
def test_nothing_is_trained_twice(reproduced, make_job):
    out, table, _ = reproduced
    before, heard = files_of(out), Listener()
    assert reproduce(make_job(out), reporter=heard) == table
    assert heard.n_epochs == 0
    assert files_of(out) == before


@pytest.mark.slow
def test_an_interrupted_row_is_continued_and_finished_ones_stay(make_job, tmp_path, monkeypatch):
    # Without the models that have no weights here: to draw random ones takes seconds.
    for module in ("reproduce", "table"):
        monkeypatch.setattr(f"overfly.benchmarks.paper.{module}.PUBLISHED_ROWS", PUBLISHED_ROWS[:2])
    whole = reproduce(make_job(tmp_path / "whole", epochs=2))
    job = make_job(tmp_path / "tables", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        reproduce(job, reporter=Listener(stop_at=3))
    assert sorted(path.name for path in job.out.iterdir()) == [
        "mobilenet_v2-scratch",
        "mobilenet_v2.unfinished",
        "paper.json",
        "paper.md",
    ]
    so_far = json.loads((job.out / "paper.json").read_text(encoding="utf-8"))["rows"]
    assert [row["status"] for row in so_far] == [TRAINED, NOT_TRAINED]
    assert (so_far[0]["accuracy"], so_far[1]["accuracy"]) == (whole.rows[0].accuracy, None)
    heard = Listener()
    table = reproduce(job, reporter=heard)
    assert heard.n_epochs == 1
    for ours, theirs in zip(table.rows, whole.rows, strict=True):
        assert [getattr(ours, name) for name in FIGURES] == [getattr(theirs, name) for name in FIGURES]


def check_rejected(job, *expected):
    """Nothing is trained, the table stays as it is, and the message contains what is expected."""
    before, heard = files_of(job.out), Listener()
    with pytest.raises(OutputError) as caught:
        reproduce(job, reporter=heard)
    for text in expected:
        assert str(text) in str(caught.value)
    assert heard.n_epochs == 0
    assert files_of(job.out) == before
    return str(caught.value)


def test_a_run_of_other_options_is_an_error_before_anything_is_trained(reproduced, make_job, weights, tmp_path):
    out, *_ = reproduced
    job = make_job(shutil.copytree(out, tmp_path / "tables"))
    shutil.rmtree(job.out / "mobilenet_v2-scratch")
    message = check_rejected(replace(job, epochs=2), "another output")
    assert message == (
        f"{job.out / 'mobilenet_v2'} has a run with epochs = 1, expected 2: "
        "use the options and data of that run, or choose another output"
    )
    check_rejected(replace(job, seed=1), job.out / "mobilenet_v2", "seed = 0", "expected 1")
    other = torch.load(weights, weights_only=True)
    torch.save({name: value + 1 for name, value in other.items()}, tmp_path / "other.pth")
    check_rejected(replace(job, weights={"mobilenet_v2": str(tmp_path / "other.pth")}), "weights = sha256:")


def test_a_run_on_other_images_is_an_error_that_names_both_folders(reproduced, make_job, tiny_data, tmp_path):
    out, *_ = reproduced
    fewer = shutil.copytree(tiny_data, tmp_path / "fewer")
    next((fewer / "forest").iterdir()).unlink()
    check_rejected(make_job(shutil.copytree(out, tmp_path / "tables"), data=fewer), tiny_data, fewer)


def test_an_out_that_can_not_be_is_an_error_and_nothing_is_written(make_job, tiny_data, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError) as caught:
        reproduce(make_job(tmp_path / "file"))
    assert str(caught.value) == f"{tmp_path / 'file'} is a file: choose another output"
    inside = tiny_data / "tables"
    with pytest.raises(OutputError) as caught:
        reproduce(make_job(inside))
    assert str(inside) in str(caught.value)
    assert not inside.exists()
    with pytest.raises(DataError) as caught:
        reproduce(make_job(tmp_path / "tables", data=tmp_path / "no"))
    assert str(tmp_path / "no") in str(caught.value)
    assert not (tmp_path / "tables").exists()
