"""Labels that a client could not tell apart are rejected, and labels that look alike are found."""

import pytest

from overfly.runtime.bundle.labels import check_labels, model_api_label, similar_labels
from overfly.runtime.errors import DataError


@pytest.mark.parametrize(
    ("name", "label"), [("golf course", "golf_course"), ("a\u00a0b\u3000c", "a_b_c"), ("x_y", "x_y"), ("são", "são")]
)
def test_white_space_is_an_underscore_in_the_model_api(name, label):
    assert model_api_label(name) == label


def test_classes_with_one_label_in_the_model_api_are_rejected():
    with pytest.raises(DataError) as caught:
        check_labels(["beach", "dense residential", "dense_residential"])
    assert str(caught.value) == (
        "the classes 'dense residential' and 'dense_residential' have the same label in OpenVINO's Model API "
        "(dense_residential), so its clients can't tell them apart: rename the folder of one of them, then "
        "train"
    )


@pytest.mark.parametrize("other", ["a\u00a0b", "a\u2003b", "a_b"])
def test_any_white_space_counts(other):
    with pytest.raises(DataError, match="a_b"):
        check_labels(["a b", other])


@pytest.mark.parametrize("other", ["a-b", "ab", "A b", "a  b", "a b c", "a_B", "a\u200b b"])
def test_labels_that_differ_for_clients_are_accepted(other):
    check_labels(["a b", other])


@pytest.mark.parametrize(
    "names",
    [
        ("Harbor", "harbor"),
        ("\u00dcbung", "U\u0308bung"),
        ("\u00dcBUNG", "u\u0308bung"),
        ("harbor", "harbor "),
        ("STRASSE", "straße"),
        ("dense residential", "dense_Residential"),
        ("dense  residential", "dense residential"),
        (" harbor", "harbor", "harbor_"),
        ("har\u200bbor", "harbor"),
        ("harbor", "\ufeffharbor"),
        ("har\u00adbor", "harbor"),
        ("harbor", "harbor\u200e"),
        ("har\u2060bor", "harbor"),
        ("harbor", "harbor\ufe0f"),
        ("\u202eharbor\u202c", "Harbor"),
        ("harbor", "\uff48arbor"),
        ("\ufb01eld", "field"),
        ("dense residential", "dense\u200b_\uff32esidential"),
    ],
)
def test_names_that_look_alike_are_found(names):
    assert similar_labels(["beach", *names, "runway"]) == [names]


def test_different_names_do_not_look_alike():
    assert similar_labels(["Bäder", "Bader", "harbor", "harbour", "a b", "ab", "a-b", "c1", "c2"]) == []
