"""``overfly assess``: the sample, the table, JSON, and what it says of files that don't fit."""

import csv
import json

import numpy as np
import pyogrio
import pytest

from overfly.cli.assess import _report
from overfly.runtime.assessment.assessment import Assessment, ClassAssessment
from overfly.runtime.assessment.estimates import (
    StratifiedSample,
    area_shares,
    overall_accuracy,
    producers_accuracies,
    users_accuracies,
)


@pytest.fixture
def sample(overfly, class_map_folder):
    """The folder of a sample of 60 cells of the small map, where the command puts it by itself."""
    overfly("assess", class_map_folder, "--sample", 60).assert_done()
    return class_map_folder.with_name(f"{class_map_folder.name}-sample")


@pytest.fixture
def labels(sample, tmp_path):
    """A file with labels: field right of column 7, water left of it; the last cell has none."""
    _, _, _, (ids,) = pyogrio.raw.read(sample / "sample.gpkg", columns=["id"], read_geometry=False)
    rows = [(cell, "field" if int(cell.split("-")[2]) > 7 else "water") for cell in ids]
    path = tmp_path / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("id", "reference"), *rows[:-1], (rows[-1][0], "")])
    return path


def test_a_sample_is_drawn_into_the_map(overfly, class_map_folder):
    result = overfly("assess", class_map_folder, "--sample", 60)
    result.assert_done()
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == ["class", "cells", "sampled"]
    assert [line[:2] for line in lines[1:]] == [["field", "436"], ["forest", "140"], ["water", "18"]]
    assert sum(int(line[2]) for line in lines[1:]) == 60
    assert str(class_map_folder.with_name(f"{class_map_folder.name}-sample") / "sample.gpkg") in result.err
    assert len(list((class_map_folder.with_name(f"{class_map_folder.name}-sample") / "images").iterdir())) == 60


def test_the_record_of_a_sample_as_json(overfly, class_map_folder, tmp_path):
    result = overfly("assess", class_map_folder, "--sample", 60, "--seed", 7, "--out", tmp_path / "cells", "--json")
    result.assert_done()
    assert json.loads(result.out) == json.loads((tmp_path / "cells" / "sample.json").read_text())
    assert json.loads(result.out)["seed"] == 7


def test_an_existing_sample_is_not_replaced(overfly, class_map_folder, sample):
    overfly("assess", class_map_folder, "--sample", 60).assert_failed(sample, "--overwrite")
    overfly("assess", class_map_folder, "--sample", 30, "--overwrite").assert_done()
    assert len(list((sample / "images").iterdir())) == 30


def test_accuracy_and_areas_as_a_table(overfly, class_map_folder, labels):
    result = overfly("assess", class_map_folder, "--reference", labels)
    result.assert_done()
    lines = result.out.splitlines()
    assert lines[0].startswith("Overall accuracy: ")
    assert lines[0].endswith("(% of the area), from 59 labeled cells")
    matrix = lines.index("Error matrix: labeled cells, rows the map, columns the reference") + 1
    assert lines[matrix].split() == ["1", "2", "3", "sum"]
    rows = [line.split() for line in lines[matrix + 1 : matrix + 5]]
    assert [row[:2] for row in rows[:3]] == [["1", "field"], ["2", "forest"], ["3", "water"]]
    assert rows[3][0] == "sum"
    assert rows[3][-1] == "59"
    head = lines[matrix + 7].split()
    assert head == ["class", "map,", "m2", "estimated,", "m2", "user's,", "%", "producer's,", "%"]
    assert lines[matrix + 9].endswith("unknown")  # nobody saw a forest
    assert "note: 1 of 60 cells have no label" in result.err
    assert "estimated_area_m2" in (class_map_folder / "areas.csv").read_text()


def test_accuracy_and_areas_as_json(overfly, class_map_folder, labels):
    result = overfly("assess", class_map_folder, "--reference", labels, "--json")
    result.assert_done()
    found = json.loads(result.out)
    assert found["schema"] == "overfly.assessment/1"
    assert (found["n_labeled"], found["n_blank"]) == (59, 1)
    assert 0 < found["overall_accuracy"]["low"] < found["overall_accuracy"]["high"] < 1
    forest = found["classes"][1]
    assert forest["users_accuracy"]["value"] == 0
    assert forest["producers_accuracy"] is None
    assert forest["area_m2"]["value"] == 0


def test_quiet_leaves_the_table_alone(overfly, class_map_folder, labels):
    loud = overfly("assess", class_map_folder, "--reference", labels)
    quiet = overfly("assess", class_map_folder, "--reference", labels, "--quiet")
    assert (quiet.out, quiet.err) == (loud.out, "")


def test_figures_can_be_unknown(overfly, class_map_folder, labels):
    text = labels.read_text()
    labels.write_text("\n".join(line for line in text.splitlines() if "water" not in line) + "\n")
    result = overfly("assess", class_map_folder, "--reference", labels)
    result.assert_done()
    assert result.out.startswith("Overall accuracy: unknown (% of the area)")
    assert "note: no cell of 'water' is labeled" in result.err


def test_the_labels_of_another_map_are_named(overfly, class_map_folder, labels):
    labels.write_text("id,reference\n00000000-1-1,field\n")
    overfly("assess", class_map_folder, "--reference", labels).assert_failed(labels, class_map_folder)


def test_a_folder_without_a_map(overfly, tmp_path):
    overfly("assess", tmp_path, "--sample", 10).assert_failed(tmp_path / "map.json")
    assert list(tmp_path.iterdir()) == []


def test_the_papers_example_as_a_table():
    counts = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    sample = StratifiedSample(counts, np.array([0.02, 0.015, 0.32, 0.645]))
    names = ("deforestation", "forest gain", "stable forest", "stable non-forest")
    total_m2 = 900_000 * 1e4
    classes = tuple(
        ClassAssessment(
            name=name,
            map_area_m2=float(weight * total_m2),
            n_map=int(row.sum()),
            n_reference=int(column.sum()),
            users_accuracy=users,
            producers_accuracy=producers,
            area_m2=share.times(total_m2),
        )
        for name, weight, row, column, users, producers, share in zip(
            names,
            sample.weights,
            counts,
            counts.T,
            users_accuracies(sample),
            producers_accuracies(sample),
            area_shares(sample),
            strict=True,
        )
    )
    assessment = Assessment(
        n_labeled=640,
        n_blank=0,
        overall_accuracy=overall_accuracy(sample),
        classes=classes,
        error_matrix=tuple(map(tuple, counts.tolist())),
        notes=(),
    )
    assert _report(assessment).splitlines() == [
        "Overall accuracy: 94.7 +- 1.8 (% of the area), from 640 labeled cells",
        "",
        "Error matrix: labeled cells, rows the map, columns the reference",
        "                      1   2    3    4  sum",
        "1 deforestation      66   0    5    4   75",
        "2 forest gain         0  55    8   12   75",
        "3 stable forest       1   0  153   11  165",
        "4 stable non-forest   2   1    9  313  325",
        "sum                  69  56  175  340  640",
        "",
        "Accuracies and areas, with 95% intervals",
        "class                map, ha      estimated, ha     user's, %  producer's, %",
        "1 deforestation       18,000    21,158 +- 6,158   88.0 +- 7.4   74.9 +- 21.3",
        "2 forest gain         13,500    11,686 +- 3,756  73.3 +- 10.1   84.7 +- 25.4",
        "3 stable forest      288,000  285,770 +- 15,510   92.7 +- 4.0    93.5 +- 3.4",
        "4 stable non-forest  580,500  581,386 +- 16,282   96.3 +- 2.1    96.2 +- 1.8",
    ]
