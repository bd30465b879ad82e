"""The reproduced tables as text and as Markdown."""

from dataclasses import replace

import pytest

from overfly.benchmarks.paper.published import PUBLISHED_ROWS
from overfly.benchmarks.paper.table import (
    NOT_TRAINED,
    TRAINED,
    PaperTable,
    ReproducedRow,
    paper_markdown,
    paper_text,
)

VERSIONS = {"python": "3.11.2", "torch": "2.6", "overfly": "1", "numpy": "2.3"}
MACHINE = {"machine": "Xeon, 4 cores", "versions": VERSIONS}
FIGURES = {"accuracy": 90.476, "f1_macro": 90.0, "kappa": 9.5}


def row_of(published, **choices):
    return ReproducedRow(name=published.name, params=published.params, flops=published.flops, **choices)


@pytest.fixture
def table():
    """A table of which the first two rows were trained, on the same machine."""
    first, second, *others = PUBLISHED_ROWS
    rows = (
        row_of(first, status=TRAINED, seconds=5025.4, **FIGURES, **MACHINE),
        row_of(second, status=TRAINED, seconds=754.0, **FIGURES, **MACHINE),
        *(row_of(published, status="no file") for published in others),
    )
    return PaperTable(60, 256, 3, rows)


def test_the_text_has_our_figures_above_the_papers_and_fits_80_columns(table):
    lines = paper_text(table).splitlines()
    assert lines[0] == "Recipe: paper. Epochs: 60. Image size: 256. Seed: 3."
    assert lines[2:6] == [
        "                     accuracy     F1  kappa    params     FLOPs  time",
        "mobilenet_v2-scratch    90.48  90.00   9.50   2.2508M 426.0928M  1 h 23 min",
        "  the paper             25.71  23.24  22.00   2.2508M 426.0928M",
        "mobilenet_v2            90.48  90.00   9.50   2.2508M 426.0928M  12 min 34 s",
    ]
    assert lines[11] == "vgg16                       -      -      - 134.3466M  20.1643G  -"
    assert lines[-5:-1] == [f"{row.name}: no file" for row in PUBLISHED_ROWS[2:]]
    assert MACHINE["machine"] in lines[-1]
    assert max(map(len, lines)) < 80


def test_the_markdown_has_a_line_for_each_row(table):
    lines = paper_markdown(table).splitlines()
    title = paper_text(table).splitlines()[0]
    assert lines[0] == f"{title} Each cell has our figure / the paper's."
    assert lines[5] == (
        "| mobilenet\\_v2 | 90.48 / 91.43 | 90.00 / 91.50 | 9.50 / 91.00 | 2.2508M / 2.2508M | 426.0928M / 426.0928M "
        "| 12 min 34 s | ok |"
    )
    assert lines[9] == (
        "| alexnet | - / 81.19 | - / 81.21 | - / 80.25 | 57.0899M / 57.0899M | 923.1359M / 923.1359M | - | no file |"
    )
    assert {line.count("|") for line in lines[2:10]} == {9}
    # Two spaces end the line in Markdown.
    assert lines[-1] == f"{paper_text(table).splitlines()[-1]}  "


def test_each_machine_and_each_set_of_versions_is_named_once(table):
    newer = replace(table.rows[1], versions={**VERSIONS, "torch": "2.7"})
    other = replace(table.rows[1], machine="Core i7, 8 cores")
    table = replace(table, rows=(table.rows[0], newer, other, *table.rows[3:]))
    assert paper_text(table).splitlines()[-3:] == [
        "Trained on Core i7, 8 cores; python 3.11.2, torch 2.6, overfly 1.",
        "Trained on Xeon, 4 cores; python 3.11.2, torch 2.6, overfly 1.",
        "Trained on Xeon, 4 cores; python 3.11.2, torch 2.7, overfly 1.",
    ]


def test_a_row_is_not_trained_yet_unless_something_else_is_known():
    table = PaperTable(1, 64, 0, tuple(map(row_of, PUBLISHED_ROWS)))
    assert {row.status for row in table.rows} == {NOT_TRAINED}
    assert paper_text(table).splitlines()[-6:] == [f"{row.name}: not trained yet" for row in PUBLISHED_ROWS]


def test_a_status_with_a_bar_stays_in_its_cell(table):
    odd = replace(table, rows=(replace(table.rows[0], status="no file a|b"), *table.rows[1:]))
    line = paper_markdown(odd).splitlines()[4]
    assert line.count("|") == 9
    assert "a&#124;b" in line
