"""Nothing of value is overwritten: the checks before an output is written."""

import errno
import os
import sys
import tempfile
from pathlib import Path

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files.atomic import atomic_folder
from overfly.runtime.files.output_guards import (
    check_inputs_safe,
    check_outside,
    check_overwrite,
    check_temporary_folder,
    check_utf8,
    explain_os_errors,
)


def sentence(path, found, remedy="choose another output"):
    """Return the sentence for an output that can't be written."""
    return f"can't write to {path}: {found}; {remedy}"


def test_an_output_that_openvino_could_not_open_is_named(tmp_path):
    path = tmp_path / "caf\udce9"
    with pytest.raises(OutputError) as caught:
        check_utf8(path)
    found = "OpenVINO can't open paths that are not UTF-8 in this locale"
    assert str(caught.value) == sentence(path, found, "set PYTHONUTF8=1, or choose another output")
    check_utf8(tmp_path / "гавань")


def test_an_existing_folder_is_rejected(old, names):
    with pytest.raises(OutputError) as caught, atomic_folder(old):
        pytest.fail("the block must not run")
    assert str(caught.value) == f"{old} exists already: choose another output, or add --overwrite to replace it"
    assert names(old.parent) == ["out"]


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_a_parent_that_is_a_file_is_named(tmp_path, below):
    (tmp_path / "notes.txt").touch()
    path = tmp_path / "notes.txt" / below
    with pytest.raises(OutputError) as caught, atomic_folder(path):
        pytest.fail("the block must not run")
    assert str(path) in str(caught.value)
    with pytest.raises(OutputError) as caught:
        check_overwrite(path, overwrite=True)
    parent = tmp_path / "notes.txt"
    assert str(caught.value) == sentence(path, f"{parent} is a file, not a folder")


def test_the_current_and_the_topmost_folder_are_rejected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, found in ((tmp_path, "the current folder"), (Path(tmp_path.anchor), "the topmost folder")):
        with pytest.raises(OutputError) as caught:
            check_overwrite(path, overwrite=True)
        assert str(caught.value) == sentence(path, f"it is {found}")


def test_an_output_that_holds_an_input_is_rejected(tmp_path):
    data = tmp_path / "images"
    check_inputs_safe(data / "out", [data])
    for out in (data, tmp_path):
        with pytest.raises(OutputError) as caught:
            check_inputs_safe(out, [tmp_path.parent / "elsewhere", data])
        assert str(caught.value) == sentence(out, f"it holds the input {data}")


def test_an_output_inside_the_data_folder_is_rejected(tmp_path):
    data = tmp_path / "images"
    data.mkdir()
    check_outside(tmp_path / "run", data)
    with pytest.raises(OutputError) as caught:
        check_outside(data / "run", data)
    found = f"it is inside the data folder {data}, where each folder is a class"
    assert str(caught.value) == sentence(data / "run", found)


def test_an_error_of_the_system_names_the_output_and_one_of_overfly_stays_as_it_is(tmp_path):
    with pytest.raises(OutputError) as caught, explain_os_errors(tmp_path, "free some space"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == sentence(tmp_path, os.strerror(errno.ENOSPC), "free some space")
    ours = OutputError("a sentence")
    with pytest.raises(OutputError) as caught, explain_os_errors(tmp_path):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize("name", ["con", "NUL", "aux.zip", "Com1", "lpt9.tar.gz", "prn ."])
def test_the_name_of_a_device_is_rejected_at_once_on_windows(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OutputError) as caught:
        check_overwrite(tmp_path / name, overwrite=True)
    assert str(caught.value) == sentence(tmp_path / name, f"{(tmp_path / name).name} is a device on Windows")
    check_overwrite(tmp_path / f"{name[0]}-run", overwrite=True)
    check_overwrite(tmp_path / "console", overwrite=True)


def test_without_a_temporary_folder_the_sentence_names_tmpdir(tmp_path, monkeypatch):
    check_temporary_folder()
    absent = str(tmp_path / "absent")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [absent])
    with pytest.raises(OutputError) as caught:
        check_temporary_folder()
    assert str(caught.value) == (
        f"there is no folder for temporary files (No usable temporary directory found in {[absent]}): set TMPDIR to a "
        "folder that can be written to"
    )
