"""A run is opened as it was written, or the file that is missing or altered is named."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from overfly.runtime.errors import RunError
from overfly.runtime.images.reading import ImageSpec
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.run import Run, save_checkpoint

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture
def run_folder(finished, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished[0].path, tmp_path / "run")


def edit(folder, change):
    """Change run.json as a person with an editor would."""
    path = folder / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def flip_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_copied_run_is_whole(finished, run_folder):
    run = Run.open(run_folder)
    assert run.record == finished[0].record
    assert run.split() == finished[0].split()
    model = run.load_model()
    assert not model.training
    expected = load_file(run_folder / "checkpoint.safetensors")
    found = model.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


@pytest.mark.parametrize("found", ["nothing", "a file"])
def test_what_is_not_a_folder_is_not_a_run(tmp_path, found):
    path = tmp_path / "run"
    if found == "a file":
        path.touch()
    with pytest.raises(RunError) as caught:
        Run.open(path)
    assert str(caught.value) == f"{path} is not a run: found {found}, expected the folder written by overfly train"


def test_a_folder_without_run_json(run_folder):
    (run_folder / "run.json").unlink()
    with pytest.raises(RunError, match=r"run\.json"):
        Run.open(run_folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(schema="overfly.bundle/1"), "overfly.run/5"),
        (lambda c: c.update(extra=1), "extra"),
        (lambda c: c["recipe"].update(batch_size=1), "batch_size"),
        (lambda c: c["recipe"].pop("jitter"), "jitter"),
        (lambda c: c["metrics"].update(kappa="high"), "kappa"),
    ],
)
def test_a_run_json_that_is_not_valid(run_folder, change, complaint):
    edit(run_folder, change)
    with pytest.raises(RunError, match=r"run\.json") as caught:
        Run.open(run_folder)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("name", "use"), [("checkpoint.safetensors", Run.load_model), ("split.json", Run.split)])
def test_a_missing_file_is_named(run_folder, name, use):
    (run_folder / name).unlink()
    with pytest.raises(RunError) as caught:
        use(Run.open(run_folder))
    assert str(caught.value) == f"{run_folder / name} is missing: copy the whole run again, or train again"


@pytest.mark.parametrize(("name", "use"), [("checkpoint.safetensors", Run.load_model), ("split.json", Run.split)])
def test_an_altered_file_is_named(run_folder, name, use):
    flip_last_byte(run_folder / name)
    with pytest.raises(RunError) as caught:
        use(Run.open(run_folder))
    assert str(run_folder / name) in str(caught.value)
    assert "SHA-256" in str(caught.value)


def test_a_checkpoint_of_another_model(run_folder):
    edit(run_folder, lambda c: c.update(model="shufflenet_v2_x1_0"))
    with pytest.raises(RunError, match="shufflenet_v2_x1_0"):
        Run.open(run_folder).load_model()


def test_a_checkpoint_with_another_number_of_classes(run_folder):
    edit(run_folder, lambda c: c["classes"].append("marsh"))
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        Run.open(run_folder).load_model()


def test_an_unknown_model(run_folder):
    edit(run_folder, lambda c: c.update(model="lenet"))
    with pytest.raises(RunError, match="lenet"):
        Run.open(run_folder).load_model()


def test_a_checkpoint_is_the_same_bytes_for_the_same_weights(tmp_path):
    image = ImageSpec(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    deployed = PreprocessedModel(build_model("shufflenet_v2_x1_0", 3), image)
    first = save_checkpoint(tmp_path, deployed)
    again = save_checkpoint(tmp_path, deployed.to(memory_format=torch.channels_last))
    assert first == again
    assert "mean" not in load_file(tmp_path / "checkpoint.safetensors")
