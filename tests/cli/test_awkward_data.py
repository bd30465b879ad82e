"""Data folders as people have them: each gives one sentence with the remedy, or simply works."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def refused(overfly, content, tmp_path, briefly):
    """A function that trains on a folder and holds that it is refused, with nothing written or changed."""

    def call(data, *fragments):
        before = content(tmp_path)
        result = overfly("train", data, "--out", tmp_path / "run", *briefly)
        result.assert_failed(*fragments)
        assert content(tmp_path) == before
        return result

    return call


def test_a_missing_folder(refused, tmp_path):
    refused(tmp_path / "no", tmp_path / "no", "found nothing", "expected one folder for each class")


def test_a_file_in_the_folders_place(refused, tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK")
    refused(tmp_path / "data.zip", tmp_path / "data.zip", "found a file", "expected one folder for each class")


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "data").mkdir()
    refused(tmp_path / "data", tmp_path / "data", "holds no class folder", "expected one folder for each class")


def test_pictures_without_class_folders(refused, small_data):
    refused(small_data / "field", small_data / "field", "holds no class folder")


def test_one_class(refused, small_data):
    shutil.rmtree(small_data / "water")
    refused(small_data, small_data, "one class (field)", "expected at least two", "add a second class")


def test_one_folder_too_high_gets_a_hint(refused, small_data):
    refused(small_data.parent, "one class (data)", f"did you mean {small_data}?")


def test_an_empty_class_folder(refused, small_data):
    (small_data / "road").mkdir()
    refused(small_data, small_data / "road", "holds no picture", ".jpg", "remove the folder")


def test_a_class_of_files_that_are_no_pictures(refused, small_data):
    (small_data / "road").mkdir()
    (small_data / "road" / "readme.txt").write_text("later")
    refused(small_data, small_data / "road", "holds no picture")


def test_a_class_with_too_few_pictures(refused, small_data):
    for path in sorted((small_data / "water").iterdir())[1:]:
        path.unlink()
    refused(small_data, "water", "too few different pictures (1)", "add some, or remove the class")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: whole[: len(whole) // 2], "can't be decoded"),
        (lambda whole: b"", "it is empty"),  # noqa: ARG005 - the same signature
        (lambda whole: b"text" + whole, "no known image format"),
    ],
    ids=["truncated", "empty", "no picture"],
)
def test_a_damaged_jpeg_is_named(overfly, small_data, small_pixels, tmp_path, briefly, damage, reason):
    path = small_data / "water" / "water3.jpg"
    Image.fromarray(small_pixels(1, 9, 200)).save(path)
    path.write_bytes(damage(path.read_bytes()))
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    result.assert_failed(path, reason, "remove or replace it")
    assert not (tmp_path / "run").exists()
    # Once it is mended, the same command works: nothing stands in its way.
    Image.fromarray(small_pixels(1, 9, 200)).save(path)
    overfly("train", small_data, "--out", tmp_path / "run", *briefly).assert_done()


def test_several_damaged_pictures_are_counted(overfly, small_data, tmp_path, briefly):
    for path in (small_data / "field").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    result.assert_failed(small_data / "field", "pictures can't be read; this is the first")


def test_files_that_are_no_pictures_are_ignored_with_a_note(overfly, small_data, tmp_path, briefly):
    (small_data / "field" / "notes.txt").write_text("sunny")
    (small_data / "water" / "sub").mkdir()
    (small_data / "water" / "sub" / "table.csv").write_text("1,2")
    (small_data / "readme.md").write_text("about")
    (small_data / ".hidden").mkdir()
    (small_data / "water" / ".DS_Store").write_bytes(b"\0")
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    result.assert_done()
    assert result.err.splitlines()[0] == "ignored field/notes.txt and 1 more: no picture by its name"
    split = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))
    assert len(split["files"]) == 12
    assert split["classes"] == ["field", "water"]


def test_the_same_picture_twice_is_noted_and_stays_in_one_part(overfly, small_data, tmp_path, briefly):
    shutil.copy(small_data / "water" / "water0.png", small_data / "water" / "water9.png")
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    result.assert_done()
    assert "water/water9.png is the same picture as water/water0.png" in result.err
    split = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))
    parts = {file["name"]: file["part"] for file in split["files"]}
    assert parts["water/water9.png"] == parts["water/water0.png"]


def save_every_kind(folder, pixels, label):
    """Save pictures of every mode, container and shape that a folder of scenes may hold; return how many."""
    colour = Image.fromarray(pixels(label, 0))
    grey = colour.convert("L")
    wide = Image.fromarray((np.asarray(grey).astype(np.uint16) << 8) + 77)
    kinds = {
        "colour.jpg": colour,
        "grey.png": grey,
        "palette.png": colour.convert("P"),
        "rgba.png": colour.convert("RGBA"),
        "grey-alpha.png": grey.convert("LA"),
        "bilevel.png": grey.convert("1"),
        "wide.png": wide,
        "wide.tif": wide,
        "scene.tif": Image.fromarray(pixels(label, 1, 256)),
        "scene.TIFF": Image.fromarray(pixels(label, 2, 256)),
        "cmyk.jpeg": colour.convert("CMYK"),
        "bitmap.bmp": colour,
        "web.webp": colour,
        "large.JPG": Image.fromarray(pixels(label, 3, 400)),
        "odd.png": Image.fromarray(pixels(label, 4, 300)[:37]),
        "tiny.png": Image.fromarray(pixels(label, 5, 1)),
    }
    folder.mkdir(parents=True)
    for name, picture in kinds.items():
        picture.save(folder / name)
    return len(kinds)


def test_every_kind_of_picture_trains_and_predicts(overfly, tiny_bundle, small_pixels, tmp_path, briefly):
    n = sum(save_every_kind(tmp_path / "data" / name, small_pixels, i) for i, name in enumerate(("field", "water")))
    result = overfly("train", tmp_path / "data", "--out", tmp_path / "run", *briefly)
    result.assert_done()
    split = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))
    assert len(split["files"]) == n == 32
    result = overfly("predict", tiny_bundle, tmp_path / "data", "--device", "CPU", "--json")
    result.assert_done()
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert len(answers) == n
    assert all(0 < answer["probability"] <= 1 for answer in answers)


def test_the_original_uc_merced_tree_of_tiff_pictures(overfly, small_pixels, tmp_path, briefly):
    """As it is unpacked: Images/<class>/<class>NN.tif, a few of them not quite 256 x 256."""
    for label, name in enumerate(("agricultural", "airplane", "baseballdiamond")):
        (tmp_path / "Images" / name).mkdir(parents=True)
        for i in range(5):
            pixels = small_pixels(label, i, 256)[: 256 - 7 * (i == 0)]
            Image.fromarray(pixels).save(tmp_path / "Images" / name / f"{name}{i:02d}.tif")
    result = overfly("train", tmp_path / "Images", "--out", tmp_path / "run", *briefly)
    result.assert_done()
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["classes"] == ["agricultural", "airplane", "baseballdiamond"]
    assert record["metrics"]["n_images"] == 3


def test_class_and_file_names_in_any_script(overfly, small_data, tmp_path, briefly):
    (small_data / "water").rename(small_data / "plan d'eau, été 景")
    (small_data / "field" / "field0.png").rename(small_data / "field" / "a b,c.png")
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    result.assert_done()
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["classes"] == ["field", "plan d'eau, été 景"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_a_file_name_that_is_no_text_is_named_or_trained_on(overfly, small_data, tmp_path, briefly):
    (small_data / "field" / "field0.png").rename(str(small_data / "field" / "f\udcff.png"))
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    assert result.code in {0, 1}
    if result.code:
        result.assert_failed("field")
