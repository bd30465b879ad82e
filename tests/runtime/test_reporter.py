"""The silent reporter takes everything; a row becomes a note unless a subclass shows it; times are short."""

import pytest

from overfly.runtime.reporter import SILENT, Reporter, count_and_name, duration


def test_the_silent_reporter_takes_everything():
    SILENT.progress("decode", 1, 2)
    SILENT.note("a sentence")
    SILENT.row({"epoch": "1"})


def test_a_row_is_a_note_of_its_columns():
    class Noted(Reporter):
        notes = ()

        def note(self, message):
            self.notes += (message,)

    reporter = Noted()
    reporter.row({"epoch": "3/9", "accuracy": "97%"})
    assert reporter.notes == ("epoch 3/9  accuracy 97%",)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.4, "4 s"),
        (59.6, "1 min 0 s"),
        (723, "12 min 3 s"),
        (3599.7, "1 h 0 min"),
        (3900, "1 h 5 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_a_duration_in_the_two_units_that_matter(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a"], "1 class (a)"),
        (["a", "b", "c"], "3 classes (a, b, c)"),
        (["a", "b", "c", "d"], "4 classes (a, b, c, ...)"),
        (["a"] * 2000, "2,000 classes (a, a, a, ...)"),
    ],
)
def test_things_are_counted_and_the_first_are_named(names, text):
    assert count_and_name(names, "class", "classes") == text


def test_the_usual_plural_ends_in_s():
    assert count_and_name([1, 2], "pair") == "2 pairs (1, 2)"
