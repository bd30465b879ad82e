"""Accuracy, macro F1 and kappa: the paper's equations 1 to 7, and scikit-learn, to twelve digits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from overfly.runtime.evaluation.metrics import ClassCounts, confusion_matrix, f1_per_class, most_confused, summarize

TOLERANCE = 1e-12


def evaluate(truth, predicted, *, n_classes):
    """Return the metrics of predicted class indices."""
    return summarize(confusion_matrix(truth, predicted, n_classes=n_classes))


@st.composite
def judgements(draw, max_classes=6):
    """(truth, predicted, number of classes), of 1 to 60 images."""
    n_classes = draw(st.integers(2, max_classes))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, n_classes - 1)] * 2), min_size=1, max_size=60))
    truth, predicted = np.array(pairs).T
    return truth, predicted, n_classes


def ratio(a, b):
    return a / b if b else 0.0


def counts(truth, predicted, label):
    """TP, FP, FN, TN of one class, counted image by image."""
    tp = fp = fn = tn = 0
    for t, p in zip(truth, predicted, strict=True):
        tp += t == label and p == label
        fp += t != label and p == label
        fn += t == label and p != label
        tn += label not in {t, p}
    return int(tp), int(fp), int(fn), int(tn)


def paper_f1(truth, predicted, label):
    """Equations 1 to 3."""
    tp, fp, fn, _ = counts(truth, predicted, label)
    p, r = ratio(tp, tp + fp), ratio(tp, tp + fn)
    return ratio(2 * p * r, p + r)


def paper_kappa(truth, predicted, n_classes):
    """Equations 5 to 7."""
    n = len(truth)
    p0 = sum(int(t == p) for t, p in zip(truth, predicted, strict=True)) / n
    pe = sum(int((truth == k).sum()) * int((predicted == k).sum()) for k in range(n_classes)) / n**2
    return (p0 - pe) / (1 - pe)


@settings(deadline=None)
@given(judgements())
def test_the_papers_equations(case):
    truth, predicted, n_classes = case
    metrics = evaluate(truth, predicted, n_classes=n_classes)
    seen = sorted(set(truth) | set(predicted))
    f1 = sum(paper_f1(truth, predicted, k) for k in seen) / len(seen)
    assert metrics.n_images == len(truth)
    assert math.isclose(metrics.accuracy, (truth == predicted).mean(), rel_tol=0, abs_tol=TOLERANCE)
    assert math.isclose(metrics.f1_macro, f1, rel_tol=0, abs_tol=TOLERANCE)
    if len(seen) > 1:
        assert math.isclose(metrics.kappa, paper_kappa(truth, predicted, n_classes), rel_tol=0, abs_tol=TOLERANCE)


@settings(deadline=None)
@given(judgements(max_classes=2))
def test_equation_4_is_equation_6_for_two_classes(case):
    truth, predicted, _ = case
    tp, fp, fn, tn = counts(truth, predicted, 1)
    accuracy = evaluate(truth, predicted, n_classes=2).accuracy
    assert math.isclose(accuracy, (tp + tn) / (tp + fp + fn + tn), rel_tol=0, abs_tol=TOLERANCE)


@settings(deadline=None)
@given(judgements())
def test_scikit_learn_agrees(case):
    truth, predicted, n_classes = case
    metrics = evaluate(truth, predicted, n_classes=n_classes)
    labels = list(range(n_classes))
    expected = f1_score(truth, predicted, labels=labels, average=None, zero_division=0)
    confusion = confusion_matrix(truth, predicted, n_classes=n_classes)
    assert (confusion == sklearn_confusion(truth, predicted, labels=labels)).all()
    assert math.isclose(metrics.accuracy, accuracy_score(truth, predicted), rel_tol=0, abs_tol=TOLERANCE)
    assert np.allclose(f1_per_class(ClassCounts.of(confusion)), expected, rtol=0, atol=TOLERANCE)
    macro = f1_score(truth, predicted, average="macro", zero_division=0)
    assert math.isclose(metrics.f1_macro, macro, rel_tol=0, abs_tol=TOLERANCE)
    if len(set(truth) | set(predicted)) > 1:
        assert math.isclose(metrics.kappa, cohen_kappa_score(truth, predicted), rel_tol=0, abs_tol=TOLERANCE)


def test_a_case_by_hand():
    metrics = evaluate(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0]), n_classes=3)
    assert metrics.accuracy == pytest.approx(4 / 6)
    assert metrics.f1_macro == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
    assert metrics.kappa == pytest.approx((4 / 6 - 15 / 36) / (1 - 15 / 36))


def test_rows_are_the_truth_and_columns_the_prediction():
    confusion = confusion_matrix(np.array([0, 0, 2], np.uint8), np.array([1, 1, 2], np.int32), n_classes=3)
    assert confusion.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_many_classes_of_a_small_integer_type_do_not_overflow():
    labels = np.arange(100, dtype=np.uint8)
    assert (confusion_matrix(labels, labels, n_classes=100) == np.eye(100)).all()


@pytest.mark.parametrize(
    ("truth", "predicted", "accuracy", "f1", "kappa"),
    [
        ([1, 1], [1, 1], 1.0, 1.0, 1.0),  # one class throughout: chance agreement is 1
        ([0, 1, 2], [0, 1, 2], 1.0, 1.0, 1.0),
        ([0, 0], [1, 1], 0.0, 0.0, 0.0),
        ([0, 1], [1, 0], 0.0, 0.0, -1.0),
        ([0, 1, 0, 1], [0, 0, 0, 0], 0.5, 1 / 3, 0.0),
        ([2], [2], 1.0, 1.0, 1.0),
    ],
)
def test_degenerate_cases(truth, predicted, accuracy, f1, kappa):
    metrics = evaluate(np.array(truth), np.array(predicted), n_classes=3)
    assert (metrics.accuracy, metrics.kappa) == (accuracy, kappa)
    assert metrics.f1_macro == pytest.approx(f1)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="counts 0 images"):
        summarize(np.zeros((3, 3), np.int64))


def test_most_confused_lists_the_most_errors_first_and_no_zeros():
    confusion = np.array([[9, 1, 0], [4, 9, 2], [0, 0, 9]])
    before = confusion.copy()
    pairs = most_confused(confusion, ("a", "b", "c"))
    assert pairs == [("b", "a", 4), ("b", "c", 2), ("a", "b", 1)]
    assert most_confused(confusion, ("a", "b", "c"), n_pairs=1) == pairs[:1]
    assert most_confused(confusion, ("a", "b", "c"), n_pairs=9) == pairs
    assert most_confused(np.eye(3, dtype=np.int64), ("a", "b", "c")) == []
    assert (confusion == before).all()
