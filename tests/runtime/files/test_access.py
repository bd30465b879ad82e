"""What can't be read is named with the reason and a remedy."""

import errno
import os
import sys

import pytest

from overfly.runtime.files.access import describe_broken_link, explain_unreadable


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOENT, "{path} does not exist: check the path"),
        (errno.ELOOP, "{path} is a link that leads back to itself: remove it"),
        (
            errno.EIO,
            f"{{path}} can't be read ({os.strerror(errno.EIO)}): check the disk or the network folder that holds it",
        ),
    ],
)
def test_the_error_of_the_system_becomes_a_sentence(tmp_path, code, sentence):
    path = tmp_path / "site"
    assert explain_unreadable(path, OSError(code, os.strerror(code), str(path))) == sentence.format(path=path)


@pytest.mark.parametrize(
    ("system", "remedy"),
    [
        ("linux", "you have no permission to read it; change its permissions"),
        ("win32", "close the program that has it open, or change its permissions"),
    ],
)
def test_on_windows_another_program_may_have_the_file_open(tmp_path, monkeypatch, system, remedy):
    monkeypatch.setattr(sys, "platform", system)
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path))
    assert explain_unreadable(tmp_path, error) == f"{tmp_path} can't be opened: {remedy}"


def test_the_broken_link_may_be_a_folder_above(tmp_path, link):
    link(tmp_path / "site", tmp_path / "disk")
    path = tmp_path / "site" / "deep" / "a.png"
    assert describe_broken_link(path) == (
        f"{path} can't be read: {tmp_path / 'site'} is a link to {tmp_path / 'disk'}, which does not exist: mount the "
        "disk that holds it, or remove the link"
    )
    (tmp_path / "disk").mkdir()
    assert describe_broken_link(path) is None
