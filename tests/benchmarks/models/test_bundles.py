"""The bundles of a bench: which can be measured together, what they are called, and which run belongs to which."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from overfly.benchmarks.models import bundles
from overfly.benchmarks.models.bundles import open_bundles
from overfly.runtime.errors import ComparisonError, RunError
from overfly.runtime.files.hashing import sha256_file


@dataclass
class FakeBundle:
    """A bundle as far as it is looked at before it is measured."""

    path: object
    classes: tuple = ("beach", "forest")
    run_sha256: str = ""
    sha256: str = ""

    @property
    def manifest(self):
        return SimpleNamespace(classes=self.classes, provenance=SimpleNamespace(run_sha256=self.run_sha256))

    def manifest_sha256(self):
        return self.sha256 or str(self.path)


@pytest.fixture
def opened(monkeypatch):
    """A function that opens fakes."""

    def call(*fakes, runs=()):
        by_path = {fake.path: fake for fake in fakes}
        monkeypatch.setattr(bundles, "Bundle", SimpleNamespace(open=by_path.__getitem__))
        return open_bundles([fake.path for fake in fakes], runs)

    return call


@pytest.fixture
def run(tmp_path):
    """A function that makes a folder with a run.json, and returns it with the hash."""

    def call(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text(name)
        return folder, sha256_file(folder / "run.json")

    return call


def test_a_single_bundle_has_no_label(opened, tmp_path):
    (found,) = opened(FakeBundle(tmp_path / "bundle"))
    assert (found.name, found.label, found.run) == ("bundle", "", None)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/small", "a/large"), ["small", "large"]),
        (("a/bundle", "b/bundle"), ["a/bundle", "b/bundle"]),
        (("a/bundle", "b/bundle", "c/small"), ["a/bundle", "b/bundle", "c/small"]),
        (("1/x/bundle", "2/x/bundle"), ["1/x/bundle", "2/x/bundle"]),
        (("a/../small", "large"), ["small", "large"]),
        (("/bundle", "/a/bundle"), [Path("/bundle").absolute().as_posix(), "a/bundle"]),
    ],
)
def test_the_names_are_as_long_as_it_takes_to_tell_them_apart(opened, tmp_path, paths, names):
    found = opened(*(FakeBundle(tmp_path / path) for path in paths))
    assert [of.name for of in found] == [of.label for of in found] == names


def test_each_run_belongs_to_the_bundles_that_were_exported_from_it(opened, run, tmp_path):
    (first, first_sha256), (second, second_sha256) = run("first"), run("second")
    hashes = {"a": second_sha256, "b": first_sha256, "c": "0", "d": second_sha256}
    fakes = [FakeBundle(tmp_path / name, run_sha256=sha256) for name, sha256 in hashes.items()]
    assert [of.run for of in opened(*fakes, runs=[first, second])] == [second, first, None, second]


def test_a_run_of_none_of_the_bundles_is_an_error_that_names_them(opened, run, tmp_path):
    (first, sha256), (other, _) = run("first"), run("other")
    fakes = [FakeBundle(tmp_path / "a", run_sha256=sha256), FakeBundle(tmp_path / "b", run_sha256="0")]
    with pytest.raises(RunError) as caught:
        opened(*fakes, runs=[first, other])
    assert str(caught.value) == (
        f"none of the bundles {fakes[0].path}, {fakes[1].path} was exported from {other}: the "
        "SHA-256 of its run.json differs; pass the run that the bundle was made from, or export it again"
    )
    with pytest.raises(RunError, match=r"the bundle .*a was not exported from .*other: "):
        opened(fakes[0], runs=[other])
    with pytest.raises(RunError, match="no is not a run"):
        opened(*fakes, runs=[tmp_path / "no"])


def test_a_bundle_that_is_there_twice_is_an_error(opened, tmp_path):
    copy = [FakeBundle(tmp_path / name, sha256="1" * 64) for name in ("a", "b")]
    with pytest.raises(ComparisonError) as caught:
        opened(FakeBundle(tmp_path / "c"), *copy)
    assert str(caught.value) == f"{tmp_path / 'b'} is the same bundle as {tmp_path / 'a'}: give each bundle once"
    with pytest.raises(ComparisonError, match="a is the same bundle as "):
        opened(copy[0], copy[0])


@pytest.mark.parametrize(
    ("classes", "what"),
    [
        (("beach",), "found 1, expected 2"),
        (("beach", "wood"), "class 2 is 'wood', expected 'forest'"),
        (("forest", "beach"), "class 1 is 'forest', expected 'beach'"),
    ],
)
def test_bundles_of_other_classes_are_an_error(opened, tmp_path, classes, what):
    with pytest.raises(ComparisonError) as caught:
        opened(FakeBundle(tmp_path / "a"), FakeBundle(tmp_path / "b"), FakeBundle(tmp_path / "c", classes))
    assert f"{tmp_path / 'c'} has other classes than {tmp_path / 'a'} ({what}): " in str(caught.value)
