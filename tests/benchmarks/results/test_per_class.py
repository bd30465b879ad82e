"""Scores by class, confusion matrices and differing answers, counted by hand in the report of fakes."""

from dataclasses import replace

import numpy as np
import pytest

from overfly.benchmarks.results.packed import pack
from overfly.benchmarks.results.per_class import (
    ImageAnswers,
    class_scores,
    confusion_of,
    disagreements,
    scores_of,
    surest_mistakes,
)

# Image i is of class i % 3, twenty of each. Every row takes image 4 (a forest) for a beach; int8 also takes 7 and 10
# (two forests) for tanks, and 11 (tanks) and 13 (a forest) for beaches.
BEACH, FOREST, TANKS = "beach", "forest <b>", "storage & tanks"


def test_a_confusion_matrix_has_the_truth_in_its_rows(report):
    assert confusion_of(report, 0).tolist() == [[20, 0, 0], [1, 19, 0], [0, 0, 20]]
    assert confusion_of(report, 4).tolist() == [[20, 0, 0], [2, 16, 2], [1, 0, 19]]


def test_a_row_that_failed_or_is_missing_has_no_confusion_matrix(report):
    assert confusion_of(report, 3) is None
    assert confusion_of(report, None) is None


def test_each_class_has_the_f1_of_both_rows(report):
    found = [(score.name, score.n_images, score.baseline, score.compared_row) for score in class_scores(report)]
    assert found == [
        (BEACH, 20, pytest.approx(40 / 41), pytest.approx(40 / 43)),
        (FOREST, 20, pytest.approx(38 / 39), pytest.approx(32 / 36)),
        (TANKS, 20, 1.0, pytest.approx(38 / 41)),
    ]


def test_a_class_without_an_image_has_no_score_and_a_row_that_is_missing_none_either(report, add_class):
    few = replace(add_class(report, "swamp"), baseline=None)
    assert [(score.name, score.baseline) for score in class_scores(few)] == [
        (BEACH, None),
        (FOREST, None),
        (TANKS, None),
    ]


def test_the_images_that_are_lost_come_before_those_that_are_gained(report):
    # The baseline is made wrong for image 0, which int8 has right, and for image 7, which int8 has wrong as well.
    base = report.rows[0]
    answers = np.array(base.measurements.predictions)
    answers[[0, 7]] = (1, 0)
    changed = replace(base, measurements=replace(base.measurements, predictions=tuple(answers.tolist())))
    found = disagreements(replace(report, rows=(changed, *report.rows[1:])))
    assert [(image.image, image.outcome) for image in found] == [
        (f"{FOREST}/10.jpg", "lost"),
        (f"{TANKS}/11.jpg", "lost"),
        (f"{FOREST}/13.jpg", "lost"),
        (f"{BEACH}/00.jpg", "gained"),
        (f"{FOREST}/07.jpg", "neither"),
    ]
    # Every fake gives its class a logit of 1, and the two others 0.
    p = pytest.approx(np.e / (np.e + 2))
    assert found[0] == ImageAnswers(10, f"{FOREST}/10.jpg", FOREST, FOREST, TANKS, p, p)


def test_the_surest_mistakes_come_first(report):
    row = report.rows[4]
    logits = list(row.measurements.logits)
    logits[11] = pack(np.array([5, 0, 0], np.float32))
    logits[0] = pack(np.array([9, 0, 0], np.float32))  # right
    surer = replace(row, measurements=replace(row.measurements, logits=tuple(logits)))
    changed = replace(report, rows=(*report.rows[:4], surer))
    found = surest_mistakes(changed, n_images=3)
    assert [image.index for image in found] == [11, 4, 7]
    assert found[0].compared_row_probability == pytest.approx(np.exp(5) / (np.exp(5) + 2))
    assert surest_mistakes(replace(report, baseline=None), n_images=3) == []


def test_the_scores_of_a_row_are_those_of_its_logits(report):
    scores = scores_of(report, 4)
    assert scores.confidence.tolist() == pytest.approx([np.e / (np.e + 2)] * 60)
    assert scores.is_right.sum() == 55
    assert scores_of(report, 3) is None


def test_without_a_baseline_or_another_row_nothing_disagrees(report, nothing_recommended):
    assert disagreements(replace(report, baseline=None)) == []
    assert disagreements(replace(report, rows=report.rows[:1], recommendation=nothing_recommended)) == []
