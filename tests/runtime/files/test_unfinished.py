"""The unfinished folder of an output is neither overwritten nor taken for something else."""

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files.unfinished import check_still_free, check_unfinished, unfinished_folder


def test_it_is_next_to_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unfinished_folder(tmp_path / "a.b") == tmp_path / "a.b.unfinished"
    assert unfinished_folder(type(tmp_path)("run")) == tmp_path / "run.unfinished"


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
def test_unfinished_work_needs_a_decision(tmp_path, resume, overwrite):
    out = tmp_path / "map"
    check_unfinished(out, "map", [], resume=resume, overwrite=overwrite)
    unfinished_folder(out).mkdir()
    if resume or overwrite:
        check_unfinished(out, "map", [], resume=resume, overwrite=overwrite)
    else:
        with pytest.raises(OutputError, match="unfinished map"):
            check_unfinished(out, "map", [], resume=resume, overwrite=overwrite)


def test_an_input_in_it_is_not_deleted(tmp_path):
    out = tmp_path / "map"
    with pytest.raises(OutputError, match="input"):
        check_unfinished(out, "map", [unfinished_folder(out) / "a.tif"], resume=False, overwrite=True)


def test_what_appears_at_the_output_meanwhile_stays(tmp_path):
    out = tmp_path / "map"
    check_still_free(out, "map", overwrite=False)
    out.write_text("new", encoding="utf-8")
    with pytest.raises(OutputError, match=r"map\.unfinished"):
        check_still_free(out, "map", overwrite=False)
    check_still_free(out, "map", overwrite=True)
