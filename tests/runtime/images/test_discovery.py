"""Images are found by their names, in a fixed order; links are followed, and what systems made is passed over."""

import contextlib
import errno
import os
import stat
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.errors import DataError, ImageError
from overfly.runtime.images import discovery as module
from overfly.runtime.images.discovery import FolderEntries, find_images, images_below, list_entries, list_folder
from overfly.runtime.images.reading import ImageReader

SIZE = 8


def make_images(*paths):
    """Make empty files and their folders."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_below(folder):
    """Return the names of the images in and below a folder."""
    return [path.relative_to(folder).as_posix() for path in images_below(folder)]


def test_find_images_goes_through_a_folder_in_order(tmp_path):
    for name in ["b.JPG", "a.png", "c/d.tif", "c/e/f.Tiff", ".hidden.png", "notes.txt", "g.webp", "c/h.bmp", "jpg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])]
    assert found == ["a.png", "b.JPG", "c/d.tif", "c/e/f.Tiff", "c/h.bmp", "g.webp"]


SYSTEM_FOLDERS = [
    ".thumbnails",
    ".Trash-1000",
    ".ipynb_checkpoints",
    "@eaDir",
    "#recycle",
    "__MACOSX",
    "$RECYCLE.BIN",
    "$Recycle.Bin",
    "System Volume Information",
    "lost+found",
    "FOUND.000",
    "Network Trash Folder",
]


@pytest.mark.parametrize("name", SYSTEM_FOLDERS)
def test_folders_that_systems_made_are_passed_over_and_counted(tmp_path, name):
    make_images(tmp_path / "1.png", tmp_path / name / "deeper" / "2.png")
    make_images(tmp_path / "a" / "3.png", tmp_path / "a" / name / "4.png")
    notes = []
    assert find_images([tmp_path], reporter=SimpleNamespace(note=notes.append)) == [
        tmp_path / "1.png",
        tmp_path / "a" / "3.png",
    ]
    first, second = sorted([tmp_path / name, tmp_path / "a" / name], key=lambda path: path.parts)
    assert notes == [f"passed over 2 folders ({first}, {second}): hidden, or made by a system"]


@pytest.mark.parametrize("name", ["eaDir", "MACOSX", "recycle", "found", "lost", "RECYCLE.BIN", "new folder"])
def test_other_folders_are_not_passed_over(tmp_path, name):
    make_images(tmp_path / name / "a.png")
    assert find_images([tmp_path]) == [tmp_path / name / "a.png"]


def test_a_folder_that_is_named_is_searched_whatever_its_name(tmp_path):
    make_images(tmp_path / "@eaDir" / "a.png")
    assert find_images([tmp_path / "@eaDir"]) == [tmp_path / "@eaDir" / "a.png"]


class WindowsEntry(SimpleNamespace):
    """An entry of a folder as Windows lists it."""

    def is_dir(self):
        return self.folder

    def is_symlink(self):
        return False

    def stat(self, *, follow_symlinks):
        assert not follow_symlinks
        return SimpleNamespace(st_file_attributes=self.attributes)


@pytest.mark.parametrize("attribute", [stat.FILE_ATTRIBUTE_HIDDEN, stat.FILE_ATTRIBUTE_SYSTEM])
def test_the_hidden_and_system_attributes_of_windows_hide(tmp_path, monkeypatch, attribute):
    archive = stat.FILE_ATTRIBUTE_ARCHIVE
    entries = [
        WindowsEntry(name="desktop.png", folder=False, attributes=attribute | archive),
        WindowsEntry(name="backup", folder=True, attributes=attribute),
        WindowsEntry(name="a.png", folder=False, attributes=archive),
        WindowsEntry(name="b", folder=True, attributes=stat.FILE_ATTRIBUTE_DIRECTORY),
    ]
    monkeypatch.setattr(module, "_HAS_ATTRIBUTES", True)
    monkeypatch.setattr(os, "scandir", lambda _folder: contextlib.nullcontext(entries))
    found = list_entries(tmp_path)
    assert found == FolderEntries([tmp_path / "a.png"], [tmp_path / "b"], [tmp_path / "backup"])


def test_the_order_is_by_parts_and_upper_case_comes_first_on_each_system(tmp_path):
    names = ["D/1.png", "a/1.png", "a-b/1.png", "a/Z.png", "a/b.png", "C.png"]
    make_images(*(tmp_path / name for name in names))
    expected = ["C.png", "D/1.png", "a/1.png", "a/Z.png", "a/b.png", "a-b/1.png"]
    assert names_below(tmp_path) == expected
    # The paths of Windows ignore the case when they are compared, so their parts are compared as texts.
    assert [path.as_posix() for path in module._sorted([PureWindowsPath(name) for name in names])] == expected


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


def test_a_link_to_itself_is_named(tmp_path, link):
    path = link(tmp_path / "loop.jpg", "loop.jpg")
    assert find_images([tmp_path]) == [path]
    with pytest.raises(ImageError, match=r"loop\.jpg"):
        ImageReader(SIZE).read(path)


def test_a_link_that_leads_nowhere_is_named(tmp_path, link):
    path = link(tmp_path / "dangling.jpg", "nowhere.jpg")
    assert find_images([tmp_path]) == [path]
    assert find_images([path]) == [path]
    with pytest.raises(ImageError, match=r"dangling\.jpg"):
        ImageReader(SIZE).read(path)


def test_a_link_to_a_folder_above_is_not_followed(tmp_path, link):
    make_images(tmp_path / "deep" / "a.png")
    link(tmp_path / "up", "..")
    link(tmp_path / "here", ".")
    link(tmp_path / "deep/top", tmp_path)
    assert find_images([tmp_path]) == [tmp_path / "deep" / "a.png"]


def test_links_to_folders_are_followed(tmp_path, link):
    make_images(tmp_path / "surveys" / "one" / "1.png", tmp_path / "surveys" / "two" / "sub" / "2.png")
    (tmp_path / "harbor").mkdir()
    link(tmp_path / "harbor/site1", tmp_path / "surveys" / "one")
    link(tmp_path / "harbor/site2", "../surveys/two")
    assert names_below(tmp_path / "harbor") == ["site1/1.png", "site2/sub/2.png"]
    alias = link(tmp_path / "alias", "harbor")
    assert names_below(alias) == ["site1/1.png", "site2/sub/2.png"]


def test_each_folder_is_listed_once_and_under_its_own_path_if_it_has_one(tmp_path, link):
    make_images(tmp_path / "in" / "m" / "1.png", tmp_path / "out" / "x" / "2.png")
    for name in ("a", "z"):
        link(tmp_path / f"in/{name}", "m")
        link(tmp_path / f"in/{name}-out", "../out")
    link(tmp_path / "in/b-out-x", "../out/x")
    assert names_below(tmp_path / "in") == ["a-out/x/2.png", "m/1.png"]


def test_circles_of_links_are_cut(tmp_path, link):
    make_images(tmp_path / "data" / "harbor" / "1.png", tmp_path / "data" / "field" / "2.png")
    make_images(tmp_path / "one" / "3.png", tmp_path / "two" / "4.png")
    link(tmp_path / "data/harbor/one", tmp_path / "one")
    link(tmp_path / "one/two", tmp_path / "two")
    link(tmp_path / "two/one", tmp_path / "one")
    link(tmp_path / "two/back", tmp_path / "data")
    assert names_below(tmp_path / "data" / "harbor") == ["1.png", "one/3.png", "one/two/4.png"]


def test_a_circle_is_cut_below_a_relative_path(tmp_path, link, monkeypatch):
    make_images(tmp_path / "data" / "a.png")
    link(tmp_path / "data/up", tmp_path)
    monkeypatch.chdir(tmp_path / "data")
    assert find_images([Path()]) == [Path("a.png")]


def test_a_link_to_an_image_is_an_image(tmp_path, link, pixels):
    content = pixels(SIZE)
    Image.fromarray(content).save(tmp_path / "real.png")
    path = link(tmp_path / "linked.png", "real.png")
    assert find_images([tmp_path]) == [path, tmp_path / "real.png"]
    assert (ImageReader(SIZE).read(path) == content).all()


def test_a_folder_with_an_images_name_is_a_folder(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "a.png").touch()
    assert find_images([tmp_path]) == [tmp_path / "folder.jpg" / "a.png"]
    assert find_images([tmp_path / "folder.jpg"]) == [tmp_path / "folder.jpg" / "a.png"]
    with pytest.raises(ImageError, match=r"folder\.jpg"):
        ImageReader(SIZE).read(tmp_path / "folder.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert find_images([tmp_path]) == [tmp_path / "pipe.jpg"]
    with pytest.raises(ImageError, match=r"pipe\.jpg"):
        ImageReader(SIZE).read(tmp_path / "pipe.jpg")


@pytest.fixture
def closed_folder(tmp_path, monkeypatch):
    """A folder that can't be listed, next to an image. Permissions would not stop every user who runs the tests."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").touch()
    scan, listing = os.scandir, os.listdir

    def fail(inner):
        def call(path):
            if os.fspath(path) == str(tmp_path / "closed"):
                raise PermissionError(13, "Permission denied", str(path))
            return inner(path)

        return call

    monkeypatch.setattr(os, "scandir", fail(scan))
    monkeypatch.setattr(os, "listdir", fail(listing))
    return tmp_path / "closed"


def test_a_folder_that_cannot_be_listed_is_among_the_images_and_named(tmp_path, closed_folder):
    assert find_images([tmp_path]) == [tmp_path / "a.png", closed_folder]
    with pytest.raises(ImageError, match="closed"):
        ImageReader(SIZE).read(closed_folder)


def test_a_folder_that_cannot_be_listed_is_kept_with_the_reason(tmp_path, closed_folder):
    content = list_folder(tmp_path)
    assert content.files == [tmp_path / "a.png"]
    assert list(content.unlistable) == [closed_folder]
    assert str(closed_folder) in str(content.unlistable[closed_folder])


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_folder_that_fails_while_it_is_listed_is_named(tmp_path, monkeypatch, code):
    make_images(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    scan = os.scandir

    class Broken:
        """Entries of a folder on a disk that fails after the first of them."""

        def __init__(self, entries):
            self.entries = list(entries)

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda *_: None  # noqa: E731

        def __iter__(self):
            yield self.entries[0]
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "scandir", lambda path: Broken(scan(path)) if Path(path).name == "b" else scan(path))
    content = list_folder(tmp_path)
    assert content.files == [tmp_path / "a" / "1.png"]
    assert os.strerror(code) in str(content.unlistable[tmp_path / "b"])


def test_an_entry_that_cannot_be_looked_at_is_a_folder_unless_its_name_is_that_of_an_image(tmp_path, monkeypatch):
    class Lost(SimpleNamespace):
        """An entry of a network folder whose server does not answer."""

        def is_dir(self):
            raise OSError(errno.EIO, "Input/output error")

        def stat(self, *, follow_symlinks):
            assert not follow_symlinks
            return SimpleNamespace(st_file_attributes=0)  # Windows knows them from the list

    entries = [Lost(name=name) for name in ("site", "a.png", ".hidden", "@eaDir")]
    monkeypatch.setattr(os, "scandir", lambda _folder: contextlib.nullcontext(entries))
    found = list_entries(tmp_path)
    assert found == FolderEntries([tmp_path / "a.png"], [tmp_path / "site"], [tmp_path / "@eaDir"])


def test_a_link_to_a_folder_that_is_gone_is_among_the_images_and_named(tmp_path, link):
    make_images(tmp_path / "harbor" / "1.png")
    path = link(tmp_path / "harbor/site1", tmp_path / "disk" / "survey")
    link(tmp_path / "harbor/.lock", "nobody@nowhere")
    assert find_images([tmp_path]) == [tmp_path / "harbor" / "1.png", path]
    assert list_folder(tmp_path).passed_over == []
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(path) in str(caught.value)
    assert str(tmp_path / "disk" / "survey") in str(caught.value)


def test_a_link_to_itself_without_the_name_of_an_image_is_named(tmp_path, link):
    path = link(tmp_path / "loop", "loop")
    assert find_images([tmp_path]) == [path]
    with pytest.raises(ImageError, match="leads back to itself"):
        ImageReader(SIZE).read(path)


def test_each_image_is_found_once_whatever_is_linked(tmp_path, link):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        folders = [tmp_path / str(seed)]
        for name in "abcd":
            folders.append(folders[rng.integers(len(folders))] / name)
        make_images(*(folder / "image.png" for folder in folders))
        for number, (place, target) in enumerate(rng.integers(len(folders), size=(rng.integers(7), 2))):
            link(folders[place] / f"link{number}", folders[target])
        start = folders[rng.integers(len(folders))]
        found = images_below(start)
        real = {Path(os.path.realpath(path.parent)) for path in found}
        assert len(real) == len(found), seed
        # An image that needs no link is found without one.
        assert {folder / "image.png" for folder in folders if folder.is_relative_to(start)} <= set(found), seed
        # A folder that contains the start would form a circle.
        assert real.isdisjoint(folder.resolve() for folder in start.parents), seed
