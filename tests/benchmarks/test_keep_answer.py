"""Which answers of a bench are kept for ``predict``."""

from dataclasses import replace

import pytest

from overfly.benchmarks.results.recommendation import keep_answer
from overfly.benchmarks.results.records import Answer
from overfly.runtime.documents import read_document
from overfly.runtime.evaluation.recommendation import RECOMMENDATION_SCHEMA, Placement, Recommendation


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A function that returns what is kept, or None."""
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path))

    def call():
        paths = list(tmp_path.glob("recommendations/*.json"))
        assert len(paths) <= 1
        return read_document(paths[0], Recommendation, schema=RECOMMENDATION_SCHEMA) if paths else None

    return call


def test_a_full_bench_is_kept_valid_or_not(report, kept):
    keep_answer(report)
    found = kept()
    assert found.latency == found.throughput == Placement("int8", "CPU", "Some CPU")
    assert (found.manifest_sha256, found.host, found.cpu) == (report.bundle.manifest_sha256, "box", "Some CPU")
    assert found.valid
    keep_answer(replace(report, verdict=replace(report.verdict, valid=False)))
    assert not kept().valid


def test_some_of_the_images_are_too_few_for_an_answer_to_keep(report, kept):
    keep_answer(replace(report, images=replace(report.images, n_available=61)))
    assert kept() is None


def test_a_quick_one_changes_nothing_and_no_answer_takes_the_old_one_away(report, kept):
    keep_answer(replace(report, quick=True))
    assert kept() is None
    keep_answer(report)
    nothing = replace(report, answer=Answer(None, None, 0.1, "none"))
    keep_answer(replace(nothing, quick=True))
    assert kept() is not None
    keep_answer(nothing)
    assert kept() is None
