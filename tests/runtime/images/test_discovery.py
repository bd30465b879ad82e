"""Images are found by their names, in a fixed order."""

import pytest

from overfly.runtime.errors import DataError
from overfly.runtime.images.discovery import find_images


def test_find_images_goes_through_a_folder_in_order(tmp_path):
    for name in ["b.JPG", "a.png", "c/d.tif", "c/e/f.Tiff", ".hidden.png", "notes.txt", "g.webp", "c/h.bmp", "jpg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])]
    assert found == ["a.png", "b.JPG", "c/d.tif", "c/e/f.Tiff", "c/h.bmp", "g.webp"]


def test_find_images_passes_over_hidden_folders(tmp_path):
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "a.png").touch()
    (tmp_path / "a.png").touch()
    assert find_images([tmp_path]) == [tmp_path / "a.png"]


def test_find_images_keeps_the_order_of_the_arguments_and_takes_any_file_named(tmp_path):
    for name in ["z/1.png", "a/2.png", "scene.dat"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    arguments = [tmp_path / "scene.dat", tmp_path / "z", tmp_path / "a" / "2.png"]
    assert find_images(arguments) == [tmp_path / "scene.dat", tmp_path / "z" / "1.png", tmp_path / "a" / "2.png"]


def test_find_images_names_a_missing_path(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError) as caught:
        find_images([tmp_path, tmp_path / "absent"])
    assert str(caught.value) == f"{tmp_path / 'absent'} does not exist: expected an image or a folder of images"


def test_find_images_says_what_an_empty_folder_lacks(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError) as caught:
        find_images([tmp_path])
    assert str(caught.value) == (
        f"{tmp_path} has no image: expected files ending in .bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp"
    )
