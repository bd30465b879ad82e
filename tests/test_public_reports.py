"""What people reported of comparable tools: one table of situation, source, and what overfly must do.

The table is the lists below, one for each subject. To add a report, append a row to the list of its subject: a short
name of the situation (it becomes the test's name), the public report as ``owner/repo#N``, a function that makes the
input, and the expectation. A message is not quoted in full: the path, the name or the number in it is enough.
"""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overfly.cli import run
from overfly.cli.arguments import expand_wildcards
from overfly.runtime.errors import ImageError
from overfly.runtime.images.reading import ImageReader

SIZE = 64


@dataclass(frozen=True)
class ImageReport:
    """An image file that must be read with the right pixels, or rejected with the true reason.

    Attributes
    ----------
    write
        Called with the path and the right pixels, uint8 of shape ``[64, 64, 3]``; writes the file.
    tolerance
        Mean absolute difference to the right pixels that the format itself costs, of 255.
    gray
        Whether the right pixels are the gray ones (the image's mode ``L``).
    rejected
        Parts of the message, if the file must be rejected. The message always names the path.
    """

    situation: str
    source: str
    name: str
    write: Callable[[Path, np.ndarray], object]
    tolerance: float = 0.0
    gray: bool = False
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommandReport:
    """A command that must do its work, or fail with a message that names the cause.

    Attributes
    ----------
    make
        Called with an `Inputs`; writes what the command needs into the current folder, which is empty.
    command
        The command line after ``overfly``; {data}, {run}, {bundle} stand for the small shared ones (not to be changed)
        and {briefly} for the options of the shortest training.
    code
        The exit code.
    shows, hides
        What the output (standard output and error together) must contain, and what it must not.
    environment
        Changes to the environment; None removes a variable. If it is not empty, the command gets its own process.
    check
        Called after the command with its standard output, for what the other fields can't say.
    windows
        Whether the arguments come as on Windows, where the shell leaves wildcards to the program.
    """

    situation: str
    source: str
    make: Callable[["Inputs"], object]
    command: str
    code: int = 0
    shows: tuple[str, ...] = ()
    hides: tuple[str, ...] = ("Traceback",)
    environment: dict[str, str | None] = field(default_factory=dict)
    check: Callable[[str], object] | None = None
    windows: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a row may copy from. `data` has 8 classes of 12 images."""

    data: Path
    run: Path
    bundle: Path

    def copy_classes(self, target, n_classes=2, n_images=6):
        """Copy the first images of the first classes, and return the new class folders."""
        for folder in sorted(self.data.iterdir())[:n_classes]:
            (Path(target) / folder.name).mkdir(parents=True)
            for image in sorted(folder.iterdir())[:n_images]:
                shutil.copy(image, Path(target) / folder.name / image.name)
        return sorted(Path(target).iterdir())

    def copy_image(self, target, class_name="harbor"):
        """Copy one image."""
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(min((self.data / class_name).iterdir()), target)


# ---- image files: functions that write one, then the rows


def damaged_exif(path, pixels):
    """Write a PNG whose EXIF data ends in the middle of the list of tags."""
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0")


def white_is_zero(path, pixels):
    """Write an inverted 8-bit gray TIFF that says so."""
    Image.fromarray(255 - np.asarray(Image.fromarray(pixels).convert("L"))).save(path)
    # Pillow writes photometric interpretation (tag 262) 1: black is zero.
    black, white = (struct.pack("<HHIHH", 262, 3, 1, value, 0) for value in (1, 0))
    content = path.read_bytes()
    assert content.count(black) == 1
    path.write_bytes(content.replace(black, white))


IMAGE_FILES = [
    ImageReport("damaged EXIF data", "python-pillow/Pillow#8348", "image.png", damaged_exif),
    ImageReport(
        "8-bit gray, white is zero", "xarray-contrib/xarray-spatial#1797", "image.tif", white_is_zero, gray=True
    ),
    ImageReport(
        "floating-point pixels",
        "python-pillow/Pillow#1888",
        "image.tif",
        lambda path, pixels: Image.fromarray(pixels[..., 0].astype(np.float32)).save(path),
        rejected=("floating-point",),
    ),
]

# ---- data folders


def linked_class_folder(inputs):
    """Two classes, one of them a link to a folder elsewhere."""
    first, _ = inputs.copy_classes("data")
    shutil.move(first, "elsewhere")
    first.symlink_to(Path("elsewhere").resolve(), target_is_directory=True)


def empty_class_folder(inputs):
    """Two classes and an empty folder next to them."""
    inputs.copy_classes("data")
    Path("data", "New folder").mkdir()


def divided(*parts):
    """Return a function that divides the images of two classes into part folders."""

    def make(inputs):
        for folder in inputs.copy_classes("all"):
            for index, image in enumerate(sorted(folder.iterdir())):
                target = Path("data", parts[index % len(parts)], folder.name)
                target.mkdir(parents=True, exist_ok=True)
                shutil.move(image, target)

    return make


def divided_beside_a_class(inputs):
    """Part folders, and a class folder next to them."""
    divided("train", "test")(inputs)
    inputs.copy_image("data/harbor/1.jpg")


def image_in_two_parts(inputs):
    """Part folders that share an image."""
    divided("train", "test")(inputs)
    leak = min(Path("data", "train").rglob("*.jpg"))
    shutil.copy(leak, Path("data", "test", leak.parent.name, "leak.jpg"))


def linked_surveys(inputs):
    """A class of two linked folders and a link to itself; its images are not below the data folder."""
    first, _ = inputs.copy_classes("data")
    Path("survey1").mkdir()
    images = sorted(first.iterdir())
    shutil.move(images[0], "survey1/1.jpg")
    shutil.move(first, "survey2")
    first.mkdir()
    for name in ("survey1", "survey2"):
        (first / name).symlink_to(Path(name).resolve(), target_is_directory=True)
    (first / "loop").symlink_to(first.resolve(), target_is_directory=True)


def unmounted_survey(inputs):
    """A class with a linked folder on a disk that is not mounted."""
    first, _ = inputs.copy_classes("data")
    (first / "survey1").symlink_to(Path("disk", "survey1").absolute(), target_is_directory=True)


def all_twelve_are_used(_out):
    """Check that the run lists the images behind the links."""
    names = [file["name"] for file in json.loads(Path("run", "split.json").read_text(encoding="utf-8"))["files"]]
    assert len(names) == 12
    assert sum("survey" in name for name in names) == 6


def folders_that_systems_made(inputs):
    """Folders of a network storage, of a Mac's zip file and of Windows, with images in them."""
    first, _ = inputs.copy_classes("data")
    for folder in (first / "@eaDir", Path("data/__MACOSX"), Path("data/$RECYCLE.BIN")):
        inputs.copy_image(folder / "thumbnail.jpg")


def image_outside(inputs):
    """An image next to the class folders."""
    inputs.copy_classes("data")
    inputs.copy_image("data/loose.jpg")


DATA_FOLDERS = [
    CommandReport(
        "a folder that is already divided",
        "ultralytics/ultralytics#8837",
        divided("train", "val", "test"),
        "train data --out run {briefly}",
        shows=("4 train", "4 val", "4 test"),
    ),
    CommandReport(
        "a folder that is already divided, without a test folder",
        "ultralytics/ultralytics#4310",
        divided("Training", "Training", "Validation"),
        "train data --out run {briefly}",
        shows=("Validation (as the test part)", "8 train", "4 test"),
    ),
    CommandReport(
        "a folder that is already divided, by other names",
        "huggingface/datasets#4015",
        divided("UCM_train", "UCM_train", "UCM_test"),
        "train data --out run {briefly}",
        shows=("UCM_test, UCM_train", "8 train", "4 test"),
    ),
    CommandReport(
        "fractions for a folder that is already divided",
        "ultralytics/ultralytics#9911",
        divided("train", "test"),
        "train data --out run {briefly} --val-fraction 0.2",
        code=2,
        shows=("test, train", "--val-fraction"),
    ),
    CommandReport(
        "part folders next to a class folder",
        "roboflow/roboflow-python#153",
        divided_beside_a_class,
        "train data --out run {briefly}",
        code=1,
        shows=("test, train", "harbor"),
    ),
    CommandReport(
        "an image in two parts",
        "tqwei05/PlantSeg#11",
        image_in_two_parts,
        "train data --out run {briefly}",
        code=1,
        shows=("1 pair", "leak.jpg"),
    ),
    CommandReport(
        "linked folders in a class",
        "pytorch/vision#1580, huggingface/pytorch-image-models#334",
        linked_surveys,
        "train data --out run {briefly}",
        check=all_twelve_are_used,
    ),
    CommandReport(
        "predict on a folder of linked folders",
        "fastai/fastai#2270",
        linked_surveys,
        "predict {bundle} data --device CPU",
        shows=("survey1", "survey2"),
        hides=("Traceback", "loop"),
    ),
    CommandReport(
        "a linked folder whose disk is not mounted",
        "KatherLab/MediSwarm#481",
        unmounted_survey,
        "train data --out run {briefly}",
        code=1,
        shows=("survey1 is a link to", str(Path("disk", "survey1")), "mount"),
    ),
    CommandReport(
        "predict on a linked folder whose disk is not mounted",
        "KatherLab/MediSwarm#481",
        unmounted_survey,
        "predict {bundle} data --device CPU",
        code=1,
        shows=("survey1 is a link to", str(Path("disk", "survey1"))),
    ),
    CommandReport(
        "folders that systems made",
        "immich-app/immich#30690, pytorch/vision#8297",
        folders_that_systems_made,
        "train data --out run {briefly}",
        shows=("3 folders ($RECYCLE.BIN, __MACOSX,",),
        hides=("Traceback", "thumbnail"),
    ),
    CommandReport(
        "predict passes over the thumbnails of a network storage",
        "photonixapp/photonix#214",
        folders_that_systems_made,
        "predict {bundle} data --device CPU",
        shows=("3 folders",),
        hides=("Traceback", "thumbnail"),
    ),
    CommandReport(
        "bench passes over them too, also when it can't judge the other images",
        "immich-app/immich#30690",
        folders_that_systems_made,
        "bench {bundle} --data data --out report",
        code=1,
        shows=("passed over 3 folders",),
        hides=("Traceback", "thumbnail"),
    ),
    CommandReport(
        "images next to the class folders",
        "pytorch/vision#4925",
        image_outside,
        "train data --out run {briefly}",
        shows=("1 image (loose.jpg)",),
    ),
    CommandReport(
        "a class folder is a link", "pytorch/vision#1580", linked_class_folder, "train data --out run {briefly}"
    ),
    CommandReport(
        "a class folder is empty",
        "pytorch/vision#2831",
        empty_class_folder,
        "train data --out run {briefly}",
        code=1,
        shows=("New folder",),
    ),
]

# ---- labels


def same_image_twice(inputs):
    """Two classes; one image of the first is there a second time."""
    first, _ = inputs.copy_classes("data")
    shutil.copy(min(first.iterdir()), first / "copy.jpg")


def same_image_in_two_classes(inputs):
    """Two classes with one image in common."""
    first, second = inputs.copy_classes("data")
    shutil.copy(min(first.iterdir()), second / "conflict.jpg")


def class_of_copies(inputs):
    """Two classes, and a third one that has only images of them."""
    for folder in inputs.copy_classes("data"):
        Path("data", "newclass").mkdir(exist_ok=True)
        for image in sorted(folder.iterdir())[:3]:
            shutil.copy(image, Path("data", "newclass", f"{folder.name} {image.name}"))


def many_copies(inputs):
    """A class with 40 copies of one image."""
    first, _ = inputs.copy_classes("data")
    for index in range(40):
        shutil.copy(min(first.iterdir()), first / f"z{index:03d}.jpg")


def classes_named(*names):
    """Return a function that makes two classes with these names."""

    def make(inputs):
        for folder, name in zip(inputs.copy_classes("data"), names, strict=True):
            folder.rename(folder.with_name(name))

    return make


def class_of_two(inputs):
    """A class with two images."""
    first, _ = inputs.copy_classes("data")
    for image in sorted(first.iterdir())[2:]:
        image.unlink()


LABELS = [
    CommandReport(
        "an image in two classes",
        "PatrykChrabaszcz/Imagenet32_Scripts#8",
        same_image_in_two_classes,
        "train data --out run {briefly}",
        shows=("label conflict", "1 pair", "conflict.jpg"),
    ),
    CommandReport(
        "a class whose images are all in other classes",
        "PatrykChrabaszcz/Imagenet32_Scripts#8",
        class_of_copies,
        "train data --out run {briefly}",
        code=1,
        shows=("class newclass",),
    ),
    CommandReport(
        "many copies of an image",
        "tqwei05/PlantSeg#11",
        many_copies,
        "train data --out run {briefly}",
        shows=("40 pairs", "z002.jpg"),
        hides=("Traceback", "z003.jpg"),
    ),
    CommandReport(
        "labels that are one label in OpenVINO's Model API",
        "open-edge-platform/geti#6443",
        classes_named("dense residential", "dense_residential"),
        "train data --out run {briefly}",
        code=1,
        shows=("dense residential", "dense_residential"),
    ),
    CommandReport(
        "labels in two Unicode forms",
        "doublecmd/doublecmd#2747",
        classes_named("U\u0308bungsplatz", "\u00dcbungsplatz"),
        "train data --out run {briefly}",
        shows=(r"U\u0308bungsplatz", r"\xdcbungsplatz"),
    ),
    CommandReport(
        "a class of two images with a validation part",
        "open-edge-platform/geti#5821",
        class_of_two,
        "train data --out run {briefly} --val-fraction 0.2",
        code=0,
        shows=("test part: 1 of 2 images right",),
    ),
    CommandReport(
        "an image twice in its class",
        "tqwei05/PlantSeg#11",
        same_image_twice,
        "train data --out run {briefly}",
        shows=("copy.jpg",),
    ),
]

# ---- weights


def wrapped_state_dict(inputs):
    """Weights in a dictionary of their own, as many training scripts save them."""
    import torch

    inputs.copy_classes("data")
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "epoch": 3}, "weights.pth")


def small_model_weights(prefix="", scale=1.0):
    """The weights of the model of the rows' shortest training, with changed names or values."""
    from overfly.training.models.torchvision_import import torchvision_models

    state = torchvision_models().shufflenet_v2_x1_0(weights=None).state_dict()
    return {f"{prefix}{key}": value * scale if value.is_floating_point() else value for key, value in state.items()}


def data_parallel_weights(inputs):
    """Weights of a model that was wrapped in DataParallel, in a dictionary of their own."""
    import torch

    inputs.copy_classes("data")
    torch.save({"net": small_model_weights("module."), "acc": 95.0, "epoch": 3}, "weights.pth")


def diverged_weights(inputs):
    """Weights that are not numbers."""
    import torch

    inputs.copy_classes("data")
    torch.save(small_model_weights(scale=float("nan")), "weights.pth")


def other_cached_weights(inputs):
    """A file in PyTorch's cache that has the name of torchvision's, and other weights."""
    import torch

    inputs.copy_classes("data")
    cache = Path("torch", "hub", "checkpoints")
    cache.mkdir(parents=True)
    torch.save(small_model_weights(scale=0.0), cache / "shufflenetv2_x1-5666bf0f80.pth")


WEIGHTS = [
    CommandReport(
        "weights of a DataParallel model",
        "wilile26811249/MobileViT#6",
        data_parallel_weights,
        "train data --out run {briefly} --weights weights.pth",
    ),
    CommandReport(
        "weights that are not numbers",
        "kuangliu/pytorch-cifar#160",
        diverged_weights,
        "train data --out run {briefly} --weights weights.pth",
        code=1,
        shows=("weights.pth", "NaN"),
    ),
    CommandReport(
        "a run instead of a weights file",
        "kuangliu/pytorch-cifar#160",
        lambda inputs: inputs.copy_classes("data"),
        "train data --out run {briefly} --weights {run}",
        code=1,
        shows=("is a run", "checkpoint.safetensors"),
    ),
    CommandReport(
        "other weights in PyTorch's cache",
        "pytorch/pytorch#191194",
        other_cached_weights,
        "train data --out run {briefly} --weights imagenet",
        code=1,
        shows=("shufflenetv2_x1-5666bf0f80.pth", "SHA-256"),
        environment={"TORCH_HOME": "torch"},
    ),
    CommandReport(
        "weights inside another dictionary",
        "kuangliu/pytorch-cifar#160",
        wrapped_state_dict,
        "train data --out run {briefly} --weights weights.pth",
        code=1,
        shows=("weights.pth",),
    ),
]

# ---- bundles


def visited_bundle(inputs):
    """A bundle in which a file manager left its file."""
    shutil.copytree(inputs.bundle, "bundle")
    Path("bundle", ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    inputs.copy_image("harbor.jpg")


BUNDLES = [
    CommandReport(
        "a file manager's file in the bundle",
        "pytorch/vision#109",
        visited_bundle,
        "predict bundle harbor.jpg --device CPU",
        shows=("harbor.jpg",),
    ),
]

# ---- environment


ENVIRONMENT = [
    CommandReport(
        "no home folder",
        "NixOS/nixpkgs#411914",
        lambda inputs: inputs.copy_image("harbor.jpg"),
        "predict {bundle} harbor.jpg --device CPU",
        shows=("harbor.jpg",),
        environment={"HOME": None, "XDG_CACHE_HOME": None},
    ),
]

# ---- the command line


def foreign_name(inputs):
    """A folder whose name is not in the code page of a Western Windows."""
    inputs.copy_image(Path("поле", "harbor.jpg"))


def names_with_brackets(inputs):
    """Images of two classes, whose names one pattern with brackets would mix up, in a folder with brackets."""
    inputs.copy_image(Path("survey [2019]", "scene[1].jpg"), "harbor")
    inputs.copy_image(Path("survey [2019]", "scene1.jpg"), "forest")


def answers_for(*names):
    """Return a check that the output has an answer for each of the files, and for no other."""

    def check(out):
        answers = [json.loads(line) for line in out.splitlines()]
        assert [Path(answer["path"]) for answer in answers] == [Path("survey [2019]", name) for name in names]

    return check


def json_names_the_foreign_file(out):
    """Check that the path in the output is that of the file."""
    assert Path(json.loads(out)["path"]).exists()


def csv_names_the_foreign_file(out):
    """Check that the path in the only row is that of the file."""
    (row,) = csv.DictReader(out.splitlines())
    assert Path(row["path"]).exists()


COMMAND_LINE = [
    CommandReport(
        "JSON where the output's encoding lacks the name's letters",
        "xinjli/allosaurus#73",
        foreign_name,
        "predict {bundle} поле --device CPU --json",
        environment={"PYTHONIOENCODING": "cp1252"},
        check=json_names_the_foreign_file,
    ),
    CommandReport(
        "CSV where the code page lacks the name's letters",
        "xinjli/allosaurus#73",
        foreign_name,
        "predict {bundle} поле --device CPU --format csv",
        environment={"PYTHONIOENCODING": "cp1252"},
        check=csv_names_the_foreign_file,
    ),
    CommandReport(
        "an error where the code page lacks the name's letters",
        "xinjli/allosaurus#73",
        lambda _: None,
        "predict {bundle} поле --device CPU",
        code=1,
        shows=("поле",),
        environment={"PYTHONIOENCODING": "cp437"},
    ),
    CommandReport(
        "a name with brackets on Windows",
        "ultralytics/ultralytics#24257",
        names_with_brackets,
        "predict {bundle} 'survey [2019]/scene[1].jpg' --device CPU --json",
        check=answers_for("scene[1].jpg"),
        windows=True,
    ),
    CommandReport(
        "a wildcard below a folder with brackets on Windows",
        "ultralytics/ultralytics#13063",
        names_with_brackets,
        "predict {bundle} 'survey [2019]/*.jpg' --device CPU --json",
        check=answers_for("scene1.jpg", "scene[1].jpg"),
        windows=True,
    ),
]


def images_trained_on(inputs):
    """The images of the run's training part, without those of its test part."""
    for file in json.loads((inputs.run / "split.json").read_text(encoding="utf-8"))["files"]:
        if file["part"] == "train":
            Path("trained", file["name"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(inputs.data / file["name"], Path("trained", file["name"]))


MEASUREMENTS = [
    CommandReport(
        "evaluated on the images that were trained on",
        "open-edge-platform/anomalib#746",
        images_trained_on,
        "bench {bundle} --data trained --images 72 --quick --out report",
        code=1,
        shows=("trained on 72 ", "validated on 0;"),
    ),
    CommandReport(
        "evaluated on the images that were trained on, with the run",
        "joojs/fairface#21",
        images_trained_on,
        "bench {bundle} --run {run} --data trained --images 72 --quick --out report",
        code=1,
        shows=("trained on 72 ", "validated on 0;"),
    ),
]

COMMANDS = [*DATA_FOLDERS, *LABELS, *WEIGHTS, *BUNDLES, *ENVIRONMENT, *COMMAND_LINE, *MEASUREMENTS]

BRIEFLY = "--weights none --epochs 1 --image-size 32 --device cpu --model shufflenet_v2_x1_0"


def rows(table):
    """Return the rows as parameters that are named by their situations."""
    return [pytest.param(row, id=row.situation) for row in table]


def test_every_row_has_its_own_name_and_a_public_source():
    table = [*IMAGE_FILES, *COMMANDS]
    assert len({row.situation for row in table}) == len(table)
    for row in table:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+(, [\w./-]*#\d+)*", row.source), row.source


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("report", rows(IMAGE_FILES))
def test_image(report, tiny_data, tmp_path):
    pixels = ImageReader(SIZE).read(min((tiny_data / "harbor").iterdir()))
    path = tmp_path / report.name
    report.write(path, pixels)
    if report.rejected:
        with pytest.raises(ImageError) as caught:
            ImageReader(SIZE).read(path)
        for part in (str(path), *report.rejected):
            assert part in str(caught.value)
        return
    right = Image.fromarray(pixels).convert("L").convert("RGB") if report.gray else pixels
    difference = np.abs(ImageReader(SIZE).read(path).astype(float) - np.asarray(right, float)).mean()
    assert difference <= report.tolerance


def run_here(arguments):
    """Run a command in this process; return its exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()


def run_apart(arguments, changes):
    """Run a command in a process of its own with a changed environment; return the same."""
    environment = {name: value for name, value in {**os.environ, **changes}.items() if value is not None}
    command = [sys.executable, "-m", "overfly.cli", *arguments]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


@pytest.mark.parametrize("report", rows(COMMANDS))
def test_command(report, tiny_data, tiny_run, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = Inputs(tiny_data, tiny_run, tiny_bundle)
    report.make(inputs)
    places = {"data": tiny_data, "run": tiny_run, "bundle": tiny_bundle}
    words = shlex.split(report.command.replace("{briefly}", BRIEFLY))
    arguments = [word.format(**places) for word in words]
    if report.windows:
        arguments = list(expand_wildcards(arguments))
    code, out, err = run_apart(arguments, report.environment) if report.environment else run_here(arguments)
    assert code == report.code, (out, err)
    for part in report.shows:
        assert part in out + err
    for part in report.hides:
        assert part not in out + err
    if report.check is not None:
        report.check(out)
