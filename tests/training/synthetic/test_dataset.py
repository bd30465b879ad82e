"""The procedural data set: its tree, its determinism, and that its labels can be learned, but not by color."""

import numpy as np
import pytest
from PIL import Image

from overfly.training.synthetic.dataset import CLASSES, draw_sample, write_sample

PER_CLASS = 10
SIZE = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample")
    write_sample(path, images_per_class=PER_CLASS, size=SIZE, seed=3)
    return path


@pytest.fixture(scope="module")
def images(folder):
    """All images, float `[class, image, y, x, channel]` from 0 to 1."""
    loaded = [[np.asarray(Image.open(folder / n / f"{n}{i:02d}.jpg")) for i in range(PER_CLASS)] for n in CLASSES]
    return np.array(loaded) / 255


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")}


def centroid_accuracy(features):
    """Accuracy of the nearest class mean, over five folds that each leave 20% out; `[class, image, feature]`."""
    fold = np.arange(features.shape[1]) % 5
    hits = []
    for left_out in range(5):
        known, asked = features[:, fold != left_out], features[:, fold == left_out]
        spread = known.std(axis=(0, 1)) + 1e-9
        centroids = known.mean(axis=1)
        distances = (((asked[:, :, None] - centroids) / spread) ** 2).sum(axis=-1)
        hits.append(distances.argmin(axis=-1) == np.arange(len(CLASSES))[:, None])
    return np.mean(hits)


def detail_features(images):
    """Mean color, contrast, and how strong and how peaked the edges are at four scales."""
    gray = images.mean(axis=-1)
    features = [*np.moveaxis(images.mean(axis=(2, 3)), -1, 0), gray.std(axis=(2, 3))]
    for _ in range(4):
        edges = np.abs(np.diff(gray, axis=2))
        features += [np.log(edges.mean(axis=(2, 3)) + 1e-3), np.log(edges.max(axis=(2, 3)) + 1e-3)]
        gray = (gray[:, :, ::2, ::2] + gray[:, :, 1::2, ::2] + gray[:, :, ::2, 1::2] + gray[:, :, 1::2, 1::2]) / 4
    return np.stack(features, axis=-1)


def test_there_are_eight_classes_in_alphabetical_order():
    assert len(CLASSES) == 8
    assert list(CLASSES) == sorted(set(CLASSES))
    assert all(name.isalpha() and name.islower() for name in CLASSES)


def test_the_tree_is_that_of_a_labeled_folder(folder):
    assert sorted(path.name for path in folder.iterdir()) == list(CLASSES)
    assert set(contents(folder)) == {f"{n}/{n}{i:02d}.jpg" for n in CLASSES for i in range(PER_CLASS)}


def test_the_default_size_is_that_of_uc_merced(tmp_path):
    write_sample(tmp_path, images_per_class=1)
    for name in CLASSES:
        with Image.open(tmp_path / name / f"{name}00.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))


def test_the_same_seed_gives_the_same_bytes_however_many_images_are_asked_for(folder, tmp_path):
    write_sample(tmp_path, images_per_class=2, size=SIZE, seed=3)
    everything, few = contents(folder), contents(tmp_path)
    assert len(few) == 2 * len(CLASSES)
    assert all(everything[name] == data for name, data in few.items())


def test_another_seed_gives_other_bytes(folder, tmp_path):
    write_sample(tmp_path, images_per_class=1, size=SIZE, seed=4)
    assert not set(contents(folder).values()) & set(contents(tmp_path).values())


def test_no_two_files_are_equal(folder):
    assert len(set(contents(folder).values())) == PER_CLASS * len(CLASSES)


def test_progress_counts_every_image(tmp_path):
    seen = []
    write_sample(tmp_path, images_per_class=2, size=32, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 16) for done in range(1, 17)]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("size", [16, 33, 128])
def test_any_size_can_be_drawn(name, size):
    image = draw_sample(name, 0, size=size)
    assert (image.mode, image.size) == ("RGB", (size, size))


def test_exposure_keeps_within_range(images):
    brightness = images.mean(axis=(2, 3, 4))
    assert brightness.min() > 0.1
    assert brightness.max() < 0.85
    assert images.std(axis=(2, 3, 4)).min() > 0.02


def test_mean_color_does_not_give_the_class_away(images):
    assert centroid_accuracy(images.mean(axis=(2, 3))) < 0.75


def test_structure_tells_more_than_color(images):
    color = centroid_accuracy(images.mean(axis=(2, 3)))
    structure = centroid_accuracy(detail_features(images))
    assert structure > 0.45
    assert structure > color + 0.1
