"""The pictures of answers: where they go, and where they can't."""

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Prediction
from overfly.runtime.errors import OutputError
from overfly.runtime.explanation.pictures import PictureFolder


@pytest.fixture
def images(tmp_path):
    """Two images with the same name in two folders."""
    paths = [tmp_path / "images" / name / "1.png" for name in ("a", "b")]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (30, 20), (90 * number, 80, 40)).save(path)
    return paths


def test_a_picture_keeps_the_place_of_its_image(tiny_bundle, images, tmp_path):
    bundle = Bundle.open(tiny_bundle)
    first, second = bundle.manifest.classes[:2]
    out = tmp_path / "pictures"
    # The folder "b" is given in a roundabout way.
    pictures = PictureFolder.make(bundle, out, [images[0], images[0].parent / ".." / "b"])
    for path in (images[0], images[0].parent / ".." / "b" / "1.png"):
        pictures.draw(path, Prediction((first, second), (0.75, 0.25)))
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == ["a/1.png.jpg", "b/1.png.jpg"]
    with Image.open(out / "b" / "1.png.jpg") as sheet:
        assert sheet.size == (3 * 384 + 2 * 8, 384 + 36)
        assert np.abs(np.asarray(sheet)[:384, :384].mean(axis=(0, 1)) - (90, 80, 40)).max() < 2


def test_a_folder_that_holds_something_or_images_to_classify_is_left_alone(tiny_bundle, images, tmp_path):
    bundle = Bundle.open(tiny_bundle)
    with pytest.raises(OutputError, match="exists already"):
        PictureFolder.make(bundle, images[0].parent, images[1:])
    with pytest.raises(OutputError, match=r"inside the data folder .* whose images are classified"):
        PictureFolder.make(bundle, tmp_path / "images" / "new", [tmp_path / "images"])
    assert not (tmp_path / "images" / "new").exists()
