"""A journal gives back what was written, whatever was torn off its end, and belongs to one map."""

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.mapping.journal import Journal

RECORDS = [(0, b"first"), (7, b""), (3, bytes(range(256)))]


@pytest.fixture
def written(tmp_path):
    """The path of a journal with `RECORDS`."""
    path = tmp_path / "journal"
    with Journal(path, "map") as journal:
        assert list(journal.records()) == []
        for record in RECORDS:
            journal.write(*record)
    return path


def test_it_gives_back_what_was_written(written):
    with Journal(written, "map") as journal:
        assert list(journal.records()) == RECORDS
        journal.write(9, b"more")
    with Journal(written, "map") as journal:
        assert list(journal.records()) == [*RECORDS, (9, b"more")]


def test_cut_anywhere_it_keeps_the_whole_records_and_can_be_continued(written):
    content = written.read_bytes()
    for length in range(len(content)):
        written.write_bytes(content[:length])
        with Journal(written, "map") as journal:
            kept = list(journal.records())
            assert kept == RECORDS[: len(kept)]
            journal.write(5, b"next")
        with Journal(written, "map") as journal:
            assert list(journal.records()) == [*kept, (5, b"next")]


def test_a_damaged_record_ends_it(written):
    content = bytearray(written.read_bytes())
    content[-290] ^= 1  # in the head of the second record
    written.write_bytes(content)
    with Journal(written, "map") as journal:
        assert len(list(journal.records())) < len(RECORDS)


def test_records_may_be_written_while_old_ones_are_read(written):
    with Journal(written, "map") as journal:
        records = journal.records()
        first = next(records)
        assert [first, *records] == RECORDS


@pytest.mark.parametrize("content", [b'{"schema": "overfly.journal/1", "identity": "other"}\n', b"something else\n"])
def test_that_of_another_map_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="--resume"):
        Journal(path, "map")
    assert path.read_bytes() == content
