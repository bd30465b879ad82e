"""A manifest describes its bundle, and any other text in its place is rejected."""

import hashlib
import json
from dataclasses import replace

import pytest

from overfly.runtime.bundle import manifest as manifest_module
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import MANIFEST, ONNX, hash_files, read_manifest, write_manifest
from overfly.runtime.bundle.storage import open_files
from overfly.runtime.errors import BundleError
from overfly.runtime.files.hashing import sha256_file


def edit_manifest(folder, change):
    """Change the manifest as a person with an editor would."""
    path = folder / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_hashes_are_those_of_the_files(bundle):
    records = hash_files(bundle.path)
    assert list(records) == sorted(records)
    assert records.keys() - {MANIFEST} == bundle.manifest.files.keys()
    assert records[ONNX].sha256 == sha256_file(bundle.path / ONNX)
    assert records[ONNX].size_bytes == (bundle.path / ONNX).stat().st_size


def test_a_manifest_is_read_as_it_was_written(bundle, tmp_path):
    (tmp_path / "copy").mkdir()
    write_manifest(tmp_path / "copy", bundle.manifest)
    assert (tmp_path / "copy" / MANIFEST).read_bytes() == (bundle.path / MANIFEST).read_bytes()
    assert read_manifest(tmp_path / "copy", open_files(tmp_path / "copy")) == bundle.manifest
    assert bundle.manifest_sha256() == sha256_file(bundle.path / MANIFEST)


def test_a_manifest_records_the_hash_of_its_text_without_the_hash(bundle):
    text = (bundle.path / MANIFEST).read_text(encoding="utf-8")
    seal = json.loads(text)["sha256"]
    assert text.count(seal) == 1
    assert seal == hashlib.sha256(text.replace(seal, "").encode()).hexdigest()


def test_a_folder_without_a_manifest(tmp_path):
    with pytest.raises(BundleError) as caught:
        Bundle.open(tmp_path)
    assert str(tmp_path / MANIFEST) in str(caught.value)
    assert "overfly.bundle/1" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(schema="overfly.bundle/99"), "'overfly.bundle/99'"),
        (lambda c: c.update(extra=1), "'extra'"),
        (lambda c: c.pop("classes"), "'classes'"),
        (lambda c: c.update(classes=["beach", "beach"]), "classes"),
        (lambda c: c.update(variants={"int4": c["variants"]["fp32"]}), "'int4'"),
        (lambda c: c["image"].update(size=0), "size 0"),
        (lambda c: c["image"].update(mean=[0, 0]), "mean"),
    ],
)
def test_a_manifest_that_is_not_valid(make_bundle, change, named):
    folder = make_bundle()
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert str(folder / MANIFEST) in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text.replace(b"linear", b"lineaR"),
        lambda text: text + b"\n",
        lambda text: text.replace(b" ", b"  ", 1),
        lambda text: text.replace(b"linear", b"line\xffr"),
    ],
)
def test_a_manifest_whose_text_was_changed(bundle, alter):
    path = bundle.path / MANIFEST
    path.write_bytes(alter(path.read_bytes()))
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle.path)
    assert str(caught.value) == (
        f"{path} was altered: its SHA-256 is not the one that it records; "
        "copy the bundle again, or export the run again"
    )


def test_a_manifest_that_is_too_long(bundle, monkeypatch):
    monkeypatch.setattr(manifest_module, "_MAX_MANIFEST_BYTES", 1000)
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle.path)
    assert str(caught.value) == f"{bundle.path / MANIFEST} is longer than 1000 bytes: copy the bundle again"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "sub/file", "..", ".", "", "..\\secret", "C:\\secret", "a/../../b", "x/"]
)
def test_names_that_lead_out_of_the_bundle_are_rejected(make_bundle, name):
    folder = make_bundle()
    edit_manifest(folder, lambda c: c["files"].update({name: {"sha256": "0" * 64, "size_bytes": 1}}))
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert str(folder / MANIFEST) in str(caught.value)
    assert repr(name) in str(caught.value)


def test_a_byte_that_makes_a_number_of_the_manifest_infinite_is_named(bundle, seal):
    path = bundle.path / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["onnx"]["parity"]["max_abs_diff"] = 1e-05
    seal(path, manifest)
    assert Bundle.open(bundle.path).manifest.onnx.parity.max_abs_diff == 1e-05
    path.write_bytes(path.read_bytes().replace(b"1e-05", b"1e905"))
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle.path)
    assert str(path) in str(caught.value)
    assert "1e905" in str(caught.value)


def test_a_manifest_of_an_earlier_version_is_read_without_what_was_added_later(bundle, tmp_path):
    manifest = bundle.manifest
    provenance = replace(manifest.provenance, train_sha256=None, val_sha256=None)
    earlier = replace(manifest, image=replace(manifest.image, reduce_first=False), provenance=provenance)
    write_manifest(tmp_path, earlier)
    text = (tmp_path / MANIFEST).read_text()
    assert "train_sha256" not in text
    assert "reduce_first" not in text
    assert replace(read_manifest(tmp_path, open_files(tmp_path)), sha256=earlier.sha256) == earlier
