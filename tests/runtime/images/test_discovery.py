"""Images are found by their names, in a fixed order; links, pipes and closed folders are found and named."""

import os

import pytest
from PIL import Image

from overfly.runtime.errors import DataError, ImageError
from overfly.runtime.images.discovery import find_images, visible_files
from overfly.runtime.images.reading import load_image

SIZE = 8


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


@pytest.fixture
def link(tmp_path):
    """A function that makes a symbolic link in the test's folder, or skips where the system refuses."""

    def call(name, target):
        try:
            (tmp_path / name).symlink_to(target)
        except OSError:
            pytest.skip("this system lets users make no symbolic links")
        return tmp_path / name

    return call


def test_a_link_to_itself_is_named(tmp_path, link):
    path = link("loop.jpg", "loop.jpg")
    assert find_images([tmp_path]) == [path]
    with pytest.raises(ImageError, match=r"loop\.jpg"):
        load_image(path, SIZE)


def test_a_link_that_leads_nowhere_is_named(tmp_path, link):
    path = link("dangling.jpg", "nowhere.jpg")
    assert find_images([tmp_path]) == [path]
    assert find_images([path]) == [path]
    with pytest.raises(ImageError, match=r"dangling\.jpg"):
        load_image(path, SIZE)


def test_a_link_to_a_folder_above_is_not_followed(tmp_path, link):
    link("up", "..")
    (tmp_path / "a.png").touch()
    assert find_images([tmp_path]) == [tmp_path / "a.png"]


def test_a_link_to_an_image_is_an_image(tmp_path, link, pixels):
    content = pixels(SIZE)
    Image.fromarray(content).save(tmp_path / "real.png")
    path = link("linked.png", "real.png")
    assert find_images([tmp_path]) == [path, tmp_path / "real.png"]
    assert (load_image(path, SIZE) == content).all()


def test_a_folder_with_an_images_name_is_a_folder(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "a.png").touch()
    assert find_images([tmp_path]) == [tmp_path / "folder.jpg" / "a.png"]
    assert find_images([tmp_path / "folder.jpg"]) == [tmp_path / "folder.jpg" / "a.png"]
    with pytest.raises(ImageError, match=r"folder\.jpg"):
        load_image(tmp_path / "folder.jpg", SIZE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert find_images([tmp_path]) == [tmp_path / "pipe.jpg"]
    with pytest.raises(ImageError, match=r"pipe\.jpg"):
        load_image(tmp_path / "pipe.jpg", SIZE)


@pytest.fixture
def closed_folder(tmp_path, monkeypatch):
    """A folder that can't be listed, next to an image. Permissions would not stop every user who runs the tests."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").touch()
    scan, listing = os.scandir, os.listdir

    def refuse(inner):
        def call(path):
            if os.fspath(path) == str(tmp_path / "closed"):
                raise PermissionError(13, "Permission denied", str(path))
            return inner(path)

        return call

    monkeypatch.setattr(os, "scandir", refuse(scan))
    monkeypatch.setattr(os, "listdir", refuse(listing))
    return tmp_path / "closed"


def test_a_folder_that_cannot_be_listed_is_among_the_images_and_named(tmp_path, closed_folder):
    assert find_images([tmp_path]) == [tmp_path / "a.png", closed_folder]
    with pytest.raises(ImageError, match="closed"):
        load_image(closed_folder, SIZE)


@pytest.mark.usefixtures("closed_folder")
def test_without_on_error_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    with pytest.raises(PermissionError):
        visible_files(tmp_path)
