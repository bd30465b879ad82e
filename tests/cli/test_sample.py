"""``overfly sample``: the drawn data set is the same for the same seed, and never overwrites unasked."""

import pytest
from PIL import Image

from overfly.training.synthetic.dataset import CLASSES


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two images of each class with seed 3, and their bytes; not to be changed."""
    from overfly.cli import run

    out = tmp_path_factory.mktemp("drawn") / "data"
    assert run(["sample", str(out), "--images-per-class", "2", "--seed", "3"]) == 0
    return out


def test_it_draws_every_class_at_256_pixels(drawn):
    assert sorted(path.name for path in drawn.iterdir()) == sorted(CLASSES)
    assert len(CLASSES) >= 6
    for name in CLASSES:
        assert sorted(path.name for path in (drawn / name).iterdir()) == [f"{name}00.jpg", f"{name}01.jpg"]
        with Image.open(drawn / name / f"{name}00.jpg") as image:
            assert (image.size, image.mode) == ((256, 256), "RGB")


@pytest.mark.slow
def test_it_is_deterministic_by_seed(overfly, content, drawn, tmp_path):
    result = overfly("sample", tmp_path / "again", "--images-per-class", 2, "--seed", 3)
    result.assert_done()
    assert result.out == f"data: {tmp_path / 'again'} (2 images of each of {len(CLASSES)} classes)\n"
    assert content(tmp_path / "again") == content(drawn)
    overfly("sample", tmp_path / "other", "--images-per-class", 2, "--seed", 4).assert_done()
    same, other = content(drawn), content(tmp_path / "other")
    assert same.keys() == other.keys()
    assert all(other[name] != same[name] for name in same if name.endswith(".jpg"))


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_out_is_rejected_and_left_alone(overfly, content, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    before = content(tmp_path)
    overfly("sample", out, "--images-per-class", 2).assert_failed(out, "--overwrite")
    assert content(tmp_path) == before


def test_overwrite_replaces_all_of_it(overfly, content, drawn, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("old")
    overfly("sample", out, "--images-per-class", 2, "--seed", 3, "--overwrite").assert_done()
    assert content(out) == content(drawn)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_may_be_filled_and_parents_are_made(overfly, tmp_path):
    (tmp_path / "empty").mkdir()
    overfly("sample", tmp_path / "empty", "--images-per-class", 2).assert_done()
    overfly("sample", tmp_path / "a" / "b", "--images-per-class", 2).assert_done()
    assert len(list((tmp_path / "empty").rglob("*.jpg"))) == 2 * len(CLASSES)
    assert len(list((tmp_path / "a" / "b").rglob("*.jpg"))) == 2 * len(CLASSES)


def test_a_parent_that_is_a_file_is_named(overfly, tmp_path):
    (tmp_path / "file").write_text("mine")
    overfly("sample", tmp_path / "file" / "out").assert_failed(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
