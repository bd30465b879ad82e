"""Nothing of value is overwritten: the checks before an output is written."""

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files.atomic import atomic_folder
from overfly.runtime.files.output_guards import check_overwrite


def test_an_existing_folder_is_refused(old, names):
    with pytest.raises(OutputError) as caught, atomic_folder(old):
        pytest.fail("the block must not run")
    assert str(caught.value) == f"{old} exists already: choose another --out, or add --overwrite to replace it"
    assert names(old.parent) == ["out"]


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_a_parent_that_is_a_file_is_named(tmp_path, below):
    (tmp_path / "notes.txt").touch()
    path = tmp_path / "notes.txt" / below
    with pytest.raises(OutputError, match="can't write to") as caught, atomic_folder(path):
        pytest.fail("the block must not run")
    assert "choose another --out" in str(caught.value)
    with pytest.raises(OutputError, match=r"notes\.txt is a file, not a folder"):
        check_overwrite(path, overwrite=True)
