"""A data folder is read as it is, and an error names what is wrong with it."""

import hashlib
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.errors import DataError
from overfly.runtime.images.reading import ImageReader
from overfly.training.data import dataset as module
from overfly.training.data.dataset import LabeledImage, decode, decode_unchanged, scan

LAYOUT = "expected one folder for each class, with images in it"


def truncate(path):
    """Cut an image file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_classes_and_images_in_order(scenes):
    dataset = scan(scenes)
    assert dataset.folder == scenes
    assert dataset.classes == ("field", "harbor", "roofs")
    expected = [f"{name}/{name}{i:02d}.png" for name in dataset.classes for i in range(8)]
    assert [image.name for image in dataset.images] == expected
    assert [image.label for image in dataset.images] == [0] * 8 + [1] * 8 + [2] * 8
    assert dataset.ignored == ()


def test_the_hash_is_that_of_the_file(scenes):
    for image in scan(scenes).images:
        assert image.sha256 == hashlib.sha256((scenes / image.name).read_bytes()).hexdigest()


def test_progress_counts_every_image(scenes):
    seen = []
    scan(scenes, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 24) for i in range(1, 25)]


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError) as caught:
        scan(tmp_path / "absent")
    assert str(caught.value) == f"the data folder {tmp_path / 'absent'} can't be used: found nothing, {LAYOUT}"


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "data.zip").touch()
    with pytest.raises(DataError) as caught:
        scan(tmp_path / "data.zip")
    assert str(caught.value) == f"the data folder {tmp_path / 'data.zip'} can't be used: found a file, {LAYOUT}"


def test_an_empty_folder(tmp_path):
    (tmp_path / "loose.png").touch()
    (tmp_path / ".cache").mkdir()
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    assert str(caught.value) == f"the data folder {tmp_path} contains no class folder: {LAYOUT}"


def test_one_class(make_folder):
    folder = make_folder(classes=("field",))
    with pytest.raises(DataError) as caught:
        scan(folder)
    assert str(caught.value) == (
        f"the data folder {folder} has one class (field), expected at least two: add a second class"
    )


def test_the_parent_of_the_real_folder(make_folder):
    folder = make_folder("UCMerced/Images")
    with pytest.raises(DataError) as caught:
        scan(folder.parent)
    assert str(caught.value) == (
        f"the data folder {folder.parent} has one class (Images), expected at least two: did you mean {folder}?"
    )
    assert len(scan(folder).classes) == 3


@pytest.mark.parametrize("content", [None, "notes.txt", ".hidden.png"])
def test_a_class_folder_without_an_image(make_folder, content):
    folder = make_folder()
    (folder / "marsh").mkdir()
    if content is not None:
        (folder / "marsh" / content).touch()
    with pytest.raises(DataError) as caught:
        scan(folder)
    assert str(caught.value) == (
        f"the class folder {folder / 'marsh'} contains no image: expected files ending in "
        ".bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp; add some or remove the folder"
    )


def test_files_that_are_not_images_are_listed(make_folder):
    folder = make_folder()
    for name in ["field/notes.txt", "field/Thumbs.db", "roofs/deep/scene.jp2", "harbor/.DS_Store", "readme.md"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    dataset = scan(folder)
    assert dataset.ignored == ("field/Thumbs.db", "field/notes.txt", "roofs/deep/scene.jp2")
    assert len(dataset.images) == 24


def copy_an_image(folder, names):
    """Copy one image of the data folder to other names in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "field" / "field00.png", folder / name)


def test_hidden_files_and_folders_are_skipped(make_folder):
    folder = make_folder()
    names = [".cache/a.png", "field/.field00.png", "field/.thumbnails/a.png", "roofs/.ipynb_checkpoints/b.txt"]
    copy_an_image(folder, names)
    dataset = scan(folder)
    assert dataset.classes == ("field", "harbor", "roofs")
    assert [s.name for s in dataset.images if "/." in s.name] == []
    assert dataset.ignored == ()


def test_folders_that_systems_made_are_passed_over(make_folder):
    folder = make_folder()
    names = ["field/@eaDir/a.png", "__MACOSX/field/b.png", "$RECYCLE.BIN/c.png", "System Volume Information/d"]
    copy_an_image(folder, names)
    dataset = scan(folder)
    assert len(dataset.images) == 24
    assert dataset.passed_over == ("$RECYCLE.BIN", "System Volume Information", "__MACOSX", "field/@eaDir")


def test_images_next_to_the_class_folders_are_listed(make_folder):
    folder = make_folder()
    for name in ["a.png", "b.tif", "notes.txt", ".hidden.png"]:
        (folder / name).touch()
    dataset = scan(folder)
    assert dataset.outside == ("a.png", "b.tif")
    assert len(dataset.images) == 24


def test_links_to_folders_in_a_class_are_followed(make_folder, link):
    folder = make_folder()
    surveys = make_folder("surveys", classes=("one", "two"), n_images=3)
    link(folder / "harbor" / "site1", surveys / "one")
    link(folder / "lake", surveys / "two")
    link(folder / "harbor" / "all", folder)
    dataset = scan(folder)
    assert dataset.classes == ("field", "harbor", "lake", "roofs")
    assert [image.name for image in dataset.images if image.label == 1][8:] == [
        f"harbor/site1/one0{i}.png" for i in range(3)
    ]
    assert [image.name for image in dataset.images if image.label == 2] == [f"lake/two0{i}.png" for i in range(3)]
    assert decode(folder, dataset.images, ImageReader(32)).shape == (30, 32, 32, 3)


def test_a_class_folder_that_cannot_be_listed_is_an_error(make_folder, monkeypatch):
    folder = make_folder()
    listing = os.scandir

    def fail(path):
        if os.fspath(path) == str(folder / "harbor"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(DataError, match="harbor"):
        scan(folder)


@pytest.mark.parametrize("name", ["lake", "harbor/site1", "harbor/deep/site2", "harbor/lost.png"])
def test_a_link_that_leads_nowhere_is_an_error_that_says_where_it_leads(make_folder, tmp_path, name, link):
    folder = make_folder()
    (folder / "harbor" / "deep").mkdir()
    link(folder / name, tmp_path / "disk" / "survey")
    with pytest.raises(DataError) as caught:
        scan(folder)
    assert str(caught.value) == (
        f"{folder / name} is a link to {tmp_path / 'disk' / 'survey'}, which does not exist: mount the disk that holds "
        "it, or remove the link"
    )


def test_a_data_folder_that_is_a_link_to_nowhere_is_named(tmp_path, link):
    link(tmp_path / "data", tmp_path / "disk")
    with pytest.raises(DataError) as caught:
        scan(tmp_path / "data")
    assert str(tmp_path / "disk") in str(caught.value)


def test_part_folders_give_classes_and_parts(tmp_path):
    for name in ["train/a/1.png", "train/b/2.png", "test/b/3.png", "test/b/deep/4.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(tmp_path / name)
    (tmp_path / "test" / "a").mkdir()
    dataset = scan(tmp_path)
    assert dataset.classes == ("a", "b")
    assert [(image.name, image.label, dataset.part_of(image)) for image in dataset.images] == [
        ("test/b/3.png", 1, "test"),
        ("test/b/deep/4.png", 1, "test"),
        ("train/a/1.png", 0, "train"),
        ("train/b/2.png", 1, "train"),
    ]
    (tmp_path / "train" / "a" / "1.png").unlink()
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    assert str(tmp_path / "train" / "a") in str(caught.value)


def test_upper_case_and_nested_images(make_folder):
    folder = make_folder(classes=("a", "b"), n_images=1)
    content = (folder / "a" / "a00.png").read_bytes()
    for name in ["a/NORTH.PNG", "a/2019/may/x.png", "b/Y.JpEg"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    dataset = scan(folder)
    names = [(image.name, image.label) for image in dataset.images]
    assert names == [("a/2019/may/x.png", 0), ("a/NORTH.PNG", 0), ("a/a00.png", 0), ("b/Y.JpEg", 1), ("b/b00.png", 1)]
    assert decode(folder, dataset.images, ImageReader(32)).shape == (5, 32, 32, 3)


def test_the_tiffs_of_the_original_uc_merced(make_folder):
    folder = make_folder(classes=("agricultural", "airplane"), suffix=".tif", n_images=3)
    with Image.open(folder / "airplane" / "airplane01.tif") as image:
        cropped = image.crop((0, 0, 32, 29))  # a few of the originals are not quite square
    cropped.save(folder / "airplane" / "airplane01.tif")
    dataset = scan(folder)
    assert [image.name for image in dataset.images[2:4]] == [
        "agricultural/agricultural02.tif",
        "airplane/airplane00.tif",
    ]
    pixels = decode(folder, dataset.images, ImageReader(32))
    with Image.open(folder / "airplane" / "airplane02.tif") as image:
        assert (pixels[5] == np.asarray(image)).all()


def test_awkward_names(make_folder):
    folder = make_folder("my données", classes=("baseball diamond", "forêt 森"), n_images=2)
    dataset = scan(folder)
    assert dataset.classes == ("baseball diamond", "forêt 森")
    assert decode(folder, dataset.images, ImageReader(32)).shape == (4, 32, 32, 3)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="file names are Unicode here")
def test_a_name_that_is_not_utf8(make_folder):
    folder = make_folder(n_images=1)
    odd = folder / "field" / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes((folder / "field" / "field00.png").read_bytes())
    dataset = scan(folder)
    assert dataset.images[0].name == f"field/{odd.name}"
    pixels = decode(folder, dataset.images, ImageReader(32))
    assert (pixels[0] == pixels[1]).all()


def test_pixels_come_in_the_order_asked_for(scenes):
    dataset = scan(scenes)
    backwards = decode(scenes, reversed(dataset.images), ImageReader(32))
    assert backwards.dtype == np.uint8
    for pixels, labeled in zip(backwards, reversed(dataset.images), strict=True):
        with Image.open(scenes / labeled.name) as image:
            assert (pixels == np.asarray(image)).all()


def test_decoding_reports_its_progress(scenes):
    seen = []
    decode(scenes, scan(scenes).images[:5], ImageReader(48), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]


def test_decoding_no_images_gives_an_empty_batch(scenes):
    assert decode(scenes, [], ImageReader(48)).shape == (0, 48, 48, 3)


def test_one_truncated_jpeg_among_good_ones_is_named(make_folder):
    folder = make_folder(suffix=".jpg")
    truncate(folder / "harbor" / "harbor03.jpg")
    with pytest.raises(DataError) as caught:
        decode(folder, scan(folder).images, ImageReader(32))
    assert str(folder / "harbor" / "harbor03.jpg") in str(caught.value)
    assert "of 24" not in str(caught.value)


def test_several_truncated_jpegs_are_counted_and_the_first_named(make_folder):
    folder = make_folder(suffix=".jpg")
    for name in ["roofs/roofs01.jpg", "field/field07.jpg", "harbor/harbor00.jpg"]:
        truncate(folder / name)
    with pytest.raises(DataError) as caught:
        decode(folder, scan(folder).images, ImageReader(32))
    assert str(folder / "field" / "field07.jpg") in str(caught.value)
    assert str(caught.value).endswith(" (3 of 24 images can't be read; this is the first)")


def test_an_image_that_was_removed_is_named(make_folder):
    folder = make_folder()
    with pytest.raises(DataError, match=r"gone\.png"):
        decode(folder, [*scan(folder).images, LabeledImage("field/gone.png", 0, "0" * 64)], ImageReader(32))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such folder names")
@pytest.mark.parametrize("name", ["a\nb", "a\x01b", "caf\udce9", "a\u2028b"])
def test_a_folder_that_cannot_name_a_class_is_named(make_folder, name):
    folder = make_folder()
    (folder / "field").rename(folder / name)
    with pytest.raises(DataError) as caught:
        scan(folder)
    assert str(caught.value) == (
        f"the class folder {name!r} of {folder} can't name a class: the name contains control characters or bytes that "
        "are not UTF-8; rename it"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_broken_link_with_the_name_of_an_image_is_named(make_folder):
    folder = make_folder()
    os.mkfifo(folder / "roofs" / "pipe.png")
    with pytest.raises(DataError) as caught:
        scan(folder)
    pipe = folder / "roofs" / "pipe.png"
    assert str(caught.value) == f"{pipe} can't be read: it is not a file, and not a link to one; remove it"
    (folder / "roofs" / "pipe.png").unlink()
    (folder / "roofs" / "link.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"link\.png"):
        scan(folder)


def test_more_images_than_fit_into_memory_are_rejected(scenes, monkeypatch):
    monkeypatch.setattr(module, "memory_bytes", lambda: 2**30)
    found = scan(scenes).images
    with pytest.raises(DataError) as caught:
        decode(scenes, found, ImageReader(4096))
    assert str(caught.value) == (
        "24 images of 4096 x 4096 pixels need 1.1 GiB of memory, and this machine has 1.0 GiB: choose a smaller image "
        "size or fewer images"
    )
    assert decode(scenes, found[:2], ImageReader(64)).shape == (2, 64, 64, 3)


def test_hashing_and_decoding_use_the_decoding_threads(scenes, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "decoding_threads", lambda: asked.append(1) or 2)
    assert decode(scenes, scan(scenes).images[:3], ImageReader(32)).shape == (3, 32, 32, 3)
    assert len(asked) == 2


def test_every_kind_of_image_file_is_decoded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    rgb = Image.fromarray(pixels)
    gray = rgb.convert("L")
    wide = Image.fromarray((np.asarray(gray).astype(np.uint16) << 8) + 77)
    kinds = {
        "rgb.jpg": rgb,
        "gray.png": gray,
        "palette.png": rgb.convert("P"),
        "rgba.png": rgb.convert("RGBA"),
        "gray-alpha.png": gray.convert("LA"),
        "bilevel.png": gray.convert("1"),
        "16-bit.png": wide,
        "16-bit.tif": wide,
        "upper.TIFF": rgb,
        "cmyk.jpeg": rgb.convert("CMYK"),
        "bitmap.bmp": rgb,
        "web.webp": rgb,
        "large.JPG": rgb.resize((400, 400)),
        "wide.png": rgb.crop((0, 0, 64, 11)),
        "tiny.png": rgb.crop((0, 0, 1, 1)),
    }
    for class_name in ("field", "water"):
        (tmp_path / class_name).mkdir()
        for name, image in kinds.items():
            image.save(tmp_path / class_name / name)
    dataset = scan(tmp_path)
    assert len(dataset.images) == 2 * len(kinds)
    assert decode(tmp_path, dataset.images, ImageReader(64)).shape == (2 * len(kinds), 64, 64, 3)


def test_a_file_that_is_missing_or_changed_since_the_split_is_named(make_folder):
    folder = make_folder()
    images = scan(folder).images
    assert (decode_unchanged(folder, images, ImageReader(32)) == decode(folder, images, ImageReader(32))).all()
    path = folder / images[3].name
    path.write_bytes((folder / images[4].name).read_bytes())
    with pytest.raises(DataError) as caught:
        decode_unchanged(folder, images, ImageReader(32))
    assert str(caught.value) == f"{path} has changed since the run was trained: restore it, or train again"
    path.unlink()
    with pytest.raises(DataError) as caught:
        decode_unchanged(folder, images, ImageReader(32))
    assert str(caught.value) == (
        f"{path} of the run's split is missing: pass the folder that was trained on with --data"
    )


def test_a_folder_of_the_split_whose_link_leads_nowhere_is_named(make_folder, tmp_path, link):
    folder = make_folder()
    images = scan(folder).images
    (folder / "harbor").rename(tmp_path / "unmounted")
    link(folder / "harbor", tmp_path / "disk")
    with pytest.raises(DataError) as caught:
        decode_unchanged(folder, images, ImageReader(32))
    assert str(folder / "harbor") in str(caught.value)
    assert str(tmp_path / "disk") in str(caught.value)
