"""The same place in two parts of a split is found, turned or shifted; places of the same kind are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.images.reading import ImageReader
from overfly.training import near_duplicates as module
from overfly.training.data.dataset import decode, scan
from overfly.training.data.split import Split, SplitFile, make_split
from overfly.training.near_duplicates import MIN_CORRELATION, NearDuplicate, near_duplicates
from overfly.training.synthetic.dataset import write_sample

SIZE = 96


def texture(seed, size=192):
    """Return smooth noise as uint8 RGB without a repeating structure, which stands for ground."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def cut(ground, top, left):
    return ground[top : top + SIZE, left : left + SIZE]


def of_parts(train, test):
    """Return (split, images) of the given images of class a, and one image of class b, because a split needs two."""
    parts = {"train": [*train, texture(900)[:SIZE, :SIZE]], "val": [], "test": test}
    files = [
        SplitFile(f"{'b' if part == 'train' and i == len(train) else 'a'}/{part}{i}", str(i), part)
        for part, members in parts.items()
        for i in range(len(members))
    ]
    images = {k: np.array(v, np.uint8).reshape(-1, SIZE, SIZE, 3) for k, v in parts.items()}
    return Split(0, 0.2, 0.0, ("a", "b"), tuple(files)), images


def recompressed(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=40)
    return np.asarray(Image.open(stream))


def darker(pixels):
    return (pixels * 0.7 + 10).astype(np.uint8)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_copy_is_found_in_every_orientation(quarters, mirrored):
    scene = cut(texture(1), 0, 0)
    copy = np.rot90(scene[:, ::-1] if mirrored else scene, quarters)
    others = [cut(texture(seed), 0, 0) for seed in range(10, 20)]
    (pair,) = near_duplicates(*of_parts([*others[:5], scene, *others[5:]], [copy]))
    assert (pair.first, pair.first_part, pair.second, pair.second_part) == ("a/train5", "train", "a/test0", "test")
    assert pair.correlation == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("change", [recompressed, darker])
def test_a_changed_copy_is_found(change):
    scene = cut(texture(2), 0, 0)
    (pair,) = near_duplicates(*of_parts([scene, cut(texture(3), 0, 0)], [change(scene)]))
    assert pair.first == "a/train0"
    assert pair.correlation > 0.98


@pytest.mark.parametrize(("down", "right", "found"), [(9, 5, True), (24, 0, True), (-20, 20, True), (70, 60, False)])
def test_tiles_that_overlap_by_half_or_more_are_found(down, right, found):
    ground = texture(4)
    pairs = near_duplicates(*of_parts([cut(ground, 24, 24)], [cut(ground, 24 + down, 24 + right)]))
    assert bool(pairs) == found
    assert all(pair.correlation >= MIN_CORRELATION for pair in pairs)


def test_images_of_one_kind_or_without_content_are_no_near_duplicates():
    beach = np.linspace(0, 255, SIZE)[None, :, None] * np.ones((SIZE, 1, 3))
    noise = np.random.default_rng(0).normal(0, 6, (2, SIZE, SIZE, 3))
    beaches = [(beach * 0.8 + 25 + noise[i]).astype(np.uint8) for i in range(2)]
    flat = np.full((SIZE, SIZE, 3), 80, np.uint8)
    assert near_duplicates(*of_parts([beaches[0], flat], [beaches[1], flat + 1])) == []


def test_parts_without_two_images_of_one_class_have_no_near_duplicates():
    scene = cut(texture(5), 0, 0)
    split, images = of_parts([], [scene])
    assert near_duplicates(split, {**images, "train": scene[None]}) == []


def test_the_highest_correlation_comes_first():
    a, b = (cut(texture(seed), 0, 0) for seed in (6, 7))
    pairs = near_duplicates(*of_parts([a, b], [recompressed(a), b]))
    assert [(pair.first, pair.second) for pair in pairs] == [("a/train1", "a/test1"), ("a/train0", "a/test0")]
    assert pairs[0].correlation > pairs[1].correlation


def test_too_many_pairs_are_not_compared(monkeypatch):
    scene = cut(texture(8), 0, 0)
    monkeypatch.setattr(module, "MAX_PAIRS", 3)
    assert near_duplicates(*of_parts([scene] * 2, [scene] * 2)) is None
    assert len(near_duplicates(*of_parts([scene] * 3, [scene]))) == 3


@pytest.mark.slow
def test_the_drawn_images_are_no_near_duplicates(tmp_path):
    write_sample(tmp_path, images_per_class=8, size=SIZE, seed=0)
    data = scan(tmp_path)
    split = make_split(data, test_fraction=0.5)
    images = {part: decode(tmp_path, split.images(part), ImageReader(SIZE)) for part in ("train", "val", "test")}
    assert near_duplicates(split, images) == []


@pytest.mark.real
def test_the_places_that_uc_merced_has_twice(real_data):
    """A person looked at both pairs: a house 12 pixels further, and tennis courts 52 pixels further."""
    twice = {"sparseresidential": ("52", "55"), "tenniscourt": ("37", "44")}
    data = scan(real_data)
    scenes = [scene for scene in data.images if Path(scene.name).parent.name in {*twice, "runway", "beach"}]
    held_back = {f"{name}{second}" for name, (_, second) in twice.items()}
    parts = ["test" if Path(s.name).stem in held_back or i % 5 == 0 else "train" for i, s in enumerate(scenes)]
    files = tuple(SplitFile(s.name, s.sha256, part) for s, part in zip(scenes, parts, strict=True))
    split = Split(0, 0.2, 0.0, data.classes, files)
    images = {part: decode(real_data, split.images(part), ImageReader(256)) for part in ("train", "val", "test")}
    found = near_duplicates(split, images)
    assert {(Path(p.first).stem, Path(p.second).stem) for p in found} == {
        (f"{name}{first}", f"{name}{second}") for name, (first, second) in twice.items()
    }
    assert isinstance(found[0], NearDuplicate)
