"""Lines of a table stay lines, whatever a name holds, and CSV and JSON can be read back."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overfly.cli.output import CSV_HEAD, csv_lines, json_line, one_line, table_line
from overfly.runtime.classifier import Prediction
from overfly.runtime.errors import ImageError

# Any text, and lone surrogates, by which Python stands in for bytes that are no UTF-8.
NAMES = st.text(st.characters(blacklist_characters="\0/"), min_size=1).map(lambda name: Path(f"folder/{name}"))
ANSWERS = st.one_of(st.just(Prediction(("harbor", "sea, open"), (0.75, 0.25))), st.text(min_size=1).map(ImageError))


@given(NAMES, ANSWERS)
def test_a_table_line_is_one_printable_line(path, answer):
    line = table_line(path, answer, 9)
    assert line.isprintable()
    assert line.startswith("(unreadable)" if isinstance(answer, ImageError) else "harbor      75.0%  sea, open   25.0%")
    line.encode("utf-8")


@given(NAMES, ANSWERS)
def test_json_gives_back_the_path_as_it_is(path, answer):
    line = json_line(path, answer, 9)
    assert line.isascii()
    assert "\n" not in line
    printed = json.loads(line)
    assert printed["path"] == str(path)
    if isinstance(answer, ImageError):
        assert printed == {"path": str(path), "error": str(answer)}
    else:
        assert (printed["label"], printed["probability"]) == ("harbor", 0.75)
        assert printed["top"] == [{"label": "harbor", "probability": 0.75}, {"label": "sea, open", "probability": 0.25}]


@given(NAMES, ANSWERS)
def test_csv_can_be_read_back(path, answer):
    text = f"{CSV_HEAD}\n{csv_lines(path, answer, 9)}\n"
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if isinstance(answer, ImageError):
        assert rows == [{"path": str(path), "label": "", "probability": "", "error": str(answer)}]
    else:
        assert [row["path"] for row in rows] == [str(path)] * 2
        assert [(row["label"], float(row["probability"])) for row in rows] == [("harbor", 0.75), ("sea, open", 0.25)]


def test_an_unknown_image_has_no_class():
    path, answer = Path("a.png"), Prediction(("harbor", "sea"), (0.75, 0.25), known=False)
    assert table_line(path, answer, 9) == "unknown            a.png"
    assert csv_lines(path, answer, 9) == "a.png,unknown,,"
    top = [{"label": "harbor", "probability": 0.75}, {"label": "sea", "probability": 0.25}]
    found = json.loads(json_line(path, answer, 9))
    assert found == {"path": "a.png", "label": "unknown", "probability": None, "known": False, "top": top}


def test_a_known_image_has_its_class():
    path, known = Path("a.png"), Prediction(("harbor",), (0.75,), known=True)
    plain = Prediction(("harbor",), (0.75,))
    assert table_line(path, known, 9) == table_line(path, plain, 9)
    assert csv_lines(path, known, 9) == csv_lines(path, plain, 9)
    assert json.loads(json_line(path, known, 9)) == {**json.loads(json_line(path, plain, 9)), "known": True}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b", "a b"), ("a\nb\r\x1b[31m", "a\\nb\\r\\x1b[31m"), ("été 景", "été 景"), ("caf\udce9", "caf\\udce9")],
)
def test_one_line(text, shown):
    assert one_line(text) == shown
