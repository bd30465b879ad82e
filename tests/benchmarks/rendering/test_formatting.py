"""Comparisons and sentences of a report."""

from dataclasses import replace

import pytest

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.results.records import Reason, Validity
from overfly.benchmarks.results.row_records import Difference, Ratio

SAME = Ratio(1.0, (1.0, 1.0))


@pytest.mark.parametrize(
    ("n_images", "p", "text", "note"),
    [
        (-12, 0.001, "-12", "-12 images"),
        (-2, 0.05, "-2 ~", "-2 images ~"),
        (1, 0.5, "+1 ~", "+1 image ~"),
        (0, 1.0, "0", "same number right"),
    ],
)
def test_a_difference_in_images_that_is_not_significant_has_a_mark(n_images, p, text, note):
    difference = Difference(n_images / 4.2, n_images, p, 0.9, SAME, SAME)
    assert formatting.image_difference(difference) == text
    assert formatting.image_difference_note(difference) == note


@pytest.mark.parametrize(
    ("ratio", "text", "with_interval"),
    [
        (Ratio(14.16, (13.94, 14.4)), "14.2x", "14.2x (13.9 to 14.4)"),
        (Ratio(0.5, (0.25, 0.96)), "0.5x", "0.5x (0.2 to 1.0)"),
        (Ratio(1.1, (0.9, 1.2)), "1.1x ~", "1.1x ~ (0.9 to 1.2)"),
        (Ratio(123.4, (99.9, 150.0)), "123x", "123x (99.9 to 150)"),
        (Ratio(3.0, None), "3.0x ~", "3.0x ~"),
    ],
)
def test_a_ratio_that_is_not_significant_has_a_mark(ratio, text, with_interval):
    assert formatting.speedup(ratio) == text
    assert formatting.speedup_note(ratio) == text.replace("x", "x as fast")
    assert formatting.speedup_interval(ratio) == with_interval


def test_the_images_are_counted_and_a_subset_is_named(report):
    assert formatting.images_sentence(report) == "Evaluated: 60 images (test part of the run)."
    subset = replace(report, images=replace(report.images, n_available=420))
    assert formatting.images_sentence(subset) == (
        "Evaluated: 60 of 420 images (test part of the run), drawn evenly from the classes."
    )


@pytest.mark.parametrize(("n_reasons", "noun"), [(1, "1 reason"), (3, "3 reasons")])
def test_an_invalid_report_counts_its_reasons_and_its_recommendation_is_provisional(report, n_reasons, noun):
    reasons = (Reason("no mains", "plug it in"),) * n_reasons
    invalid = replace(report, validity=replace(report.validity, valid=False, reasons=reasons))
    sentence = f"INVALID for {noun}: the figures are only a rough estimate."
    assert formatting.validity_sentence(invalid) == sentence
    assert formatting.recommendation_sentence(invalid) == f"Provisional: {report.recommendation.sentence}"


def test_a_valid_report_recommends_without_reserve(report):
    assert formatting.validity_sentence(report) == "VALID: all 6 checks of the measurement passed."
    assert formatting.recommendation_sentence(report) == report.recommendation.sentence


def test_what_failed_comes_before_what_passed_and_what_was_observed(report):
    validity = Validity(False, (Reason("no mains", "plug it in"),), ("a check",), ("a change",))
    assert formatting.validity_lines(replace(report, validity=validity)) == [
        ("failed", "no mains; plug it in"),
        ("passed", "a check"),
        ("observed", "a change"),
    ]


def test_only_rows_that_failed_are_failures(report):
    assert formatting.failures(report) == [f"OpenVINO fp16 GPU failed: {report.rows[3].status}"]
