"""Two trainings are the same if all that decides their weights is."""

import dataclasses
import hashlib

import pytest

from overfly.training.data.dataset import scan
from overfly.training.data.split import make_split
from overfly.training.identity import TrainingIdentity, split_sha256, weights_identity
from overfly.training.recipe import FIELDS, PAPER, override
from overfly.training.run import save_split

IDENTITY = TrainingIdentity(recipe=PAPER, seed=3, weights="imagenet", split_sha256="a")


def test_equal_trainings_have_no_difference():
    assert IDENTITY.first_difference(dataclasses.replace(IDENTITY)) is None


@pytest.mark.parametrize(
    ("field", "value"), [("seed", 4), ("weights", "none"), ("split_sha256", "b"), ("value_range", (0.0, 4095.0))]
)
def test_each_field_is_compared(field, value):
    other = dataclasses.replace(IDENTITY, **{field: value})
    assert IDENTITY.first_difference(other) == (field, getattr(IDENTITY, field), value)


def test_a_range_that_was_saved_as_json_is_the_same():
    ours, saved = (dataclasses.replace(IDENTITY, value_range=ends) for ends in ((0.0, 4095.0), [0.0, 4095.0]))
    assert ours.first_difference(saved) is None


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(PAPER)])
def test_each_field_of_the_recipe_is_compared_and_comes_first(field):
    ours, allowed = getattr(PAPER, field), FIELDS[field].allowed
    values = {int: (99,), float: (0.123,)}.get(type(ours), allowed) if field != "batch_shares" else (2,)
    value = next(value for value in values if value != ours)
    other = dataclasses.replace(IDENTITY, seed=4, recipe=override(PAPER, **{field: value}))
    assert IDENTITY.first_difference(other) == (field, ours, value)


def test_a_weights_file_is_known_by_its_content(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    assert weights_identity(str(tmp_path / "w.pth")) == "sha256:" + hashlib.sha256(b"weights").hexdigest()
    assert (weights_identity("imagenet"), weights_identity("none")) == ("imagenet", "none")


def test_the_hash_of_a_split_is_that_of_its_file(scenes, tmp_path):
    split = make_split(scan(scenes), test_fraction=0.25)
    assert save_split(tmp_path, split) == split_sha256(split)
    assert split_sha256(split) == hashlib.sha256((tmp_path / "split.json").read_bytes()).hexdigest()
    assert split_sha256(split) != split_sha256(dataclasses.replace(split, seed=1))
