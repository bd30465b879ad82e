"""A bundle's files are those that the manifest lists, or the one that differs is named."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import GOLDEN, LABELS, MANIFEST, ONNX, hash_files
from overfly.runtime.errors import BundleError

REPEATED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


SIZE, N_CLASSES = 8, 4


def test_a_whole_bundle_is_opened_and_verified(bundle):
    bundle.verify()
    assert bundle.manifest.classes == ("beach", "forest", "harbor", "river")
    assert bundle.manifest.image.size == SIZE
    assert list(bundle.manifest.variants) == ["fp32", "fp16"]
    assert bundle.variant("fp16").calibration.seed == 3
    assert bundle.variant("fp32").calibration is None
    assert bundle.read(LABELS).decode().split() == list(bundle.manifest.classes)


@pytest.mark.parametrize("found", ["nothing", "a file that is not a complete .zip"])
def test_what_is_no_folder_is_no_bundle(tmp_path, found):
    path = tmp_path / "bundle"
    if found != "nothing":
        path.touch()
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert str(caught.value) == (
        f"{path} is not a bundle: found {found}, expected the folder or .zip written by overfly export"
    )


def test_a_variant_can_not_name_a_file_outside_either(make_bundle, seal):
    folder = make_bundle()
    (folder.parent / "secret.xml").write_text("<net/>", encoding="utf-8")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["variants"]["fp32"]["xml"] = "../secret.xml"
    seal(folder / MANIFEST, manifest)
    opened = Bundle.open(folder)
    with pytest.raises(BundleError) as caught:
        opened.read(opened.variant("fp32").xml)
    assert "../secret.xml" in str(caught.value)


def test_a_missing_file_is_named(bundle):
    path = bundle.path / "fp32.bin"
    path.unlink()
    for check in (lambda: bundle.read("fp32.bin"), bundle.verify):
        with pytest.raises(BundleError) as caught:
            check()
        assert str(caught.value) == f"{path} is missing: copy the whole bundle again, or export the run again"


def alter_one_byte(content):
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("alter", [alter_one_byte, lambda c: c + b"\0", lambda c: c[:-1], lambda _: b""])
@pytest.mark.parametrize("name", [ONNX, "fp16.xml", "fp16.bin", GOLDEN, LABELS])
def test_an_altered_file_is_named(bundle, name, alter):
    path = bundle.path / name
    path.write_bytes(alter(path.read_bytes()))
    with pytest.raises(BundleError) as caught:
        bundle.verify()
    expected = bundle.manifest.files[name].sha256[:12]
    assert str(caught.value).startswith(f"{path} was altered: its SHA-256 is not the {expected}... of the manifest")
    other = LABELS if name == ONNX else ONNX
    assert bundle.read(other) == (bundle.path / other).read_bytes()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "folder"])
def test_an_added_file_is_named(bundle, name):
    path = bundle.path / name
    path.mkdir() if name == "folder" else path.touch()
    with pytest.raises(BundleError) as caught:
        bundle.verify()
    assert str(caught.value) == f"{path} is not listed in the manifest: remove it, or copy the bundle again"


SYSTEM_NAMES = [".DS_Store", "desktop.ini", "Thumbs.db", "._fp32.bin", "__MACOSX", "@eaDir"]


def test_what_a_system_leaves_in_a_folder_is_no_error(bundle):
    assert bundle.verify() == []
    for name in SYSTEM_NAMES:
        path = bundle.path / name
        path.mkdir() if name in {"__MACOSX", "@eaDir"} else path.write_bytes(b"\0\0\0\1Bud1")
    assert bundle.verify() == sorted(SYSTEM_NAMES)
    (bundle.path / "DS_Store").touch()
    with pytest.raises(BundleError) as caught:
        bundle.verify()
    assert str(bundle.path / "DS_Store") in str(caught.value)


def test_a_file_that_is_not_listed(bundle):
    with pytest.raises(BundleError) as caught:
        bundle.read("int8.xml")
    assert str(caught.value) == f"{bundle.path / MANIFEST} does not list int8.xml: export the run again"


def test_an_unknown_variant(bundle):
    with pytest.raises(BundleError) as caught:
        bundle.variant("int8")
    assert str(caught.value) == (
        f"{bundle.path} has no variant int8: it holds fp32, fp16; export the run with --variant int8"
    )


def test_golden_images_and_logits(bundle, pixels, expected_logits):
    golden = bundle.golden()
    assert (golden.images == np.stack([pixels(SIZE, seed=i) for i in range(6)])).all()
    assert golden.images.dtype == np.uint8
    assert golden.logits.dtype == np.float32
    assert np.allclose(golden.logits, expected_logits(golden.images), rtol=1e-5)


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((0, SIZE, SIZE, 3), np.uint8), "logits": np.zeros((0, 4), np.float32)},
        {"images": np.zeros((2, SIZE, SIZE, 3), np.float32), "logits": np.zeros((2, 4), np.float32)},
        {"images": np.zeros((2, SIZE, SIZE, 3), np.uint8), "logits": np.zeros((2, 4), np.float64)},
        {"images": np.zeros((2, SIZE, SIZE, 3), np.uint8), "logits": np.zeros((2, 4), np.complex64)},
        {"images": np.uint8(3), "logits": np.float32(4)},
    ],
)
def test_golden_arrays_that_nothing_can_be_compared_with(bundle, arrays):
    np.savez(bundle.path / GOLDEN, **arrays)
    bundle.manifest.files.update(hash_files(bundle.path))
    with pytest.raises(BundleError) as caught:
        bundle.golden()
    path = bundle.path / GOLDEN
    assert str(caught.value) == f"{path} holds arrays of the wrong shape or type, or none: export the run again"


def test_golden_logits_that_are_not_finite(make_bundle):
    folder = make_bundle(logits=np.full((6, 4), np.inf))
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder).golden()
    assert str(caught.value) == f"{folder / GOLDEN} holds logits that are not finite numbers: export the run again"


@pytest.mark.parametrize(
    ("images", "logits"),
    [
        ((2, SIZE, SIZE + 1, 3), (2, N_CLASSES)),
        ((2, SIZE, SIZE, 1), (2, N_CLASSES)),
        ((2, SIZE, SIZE, 3), (3, N_CLASSES)),
        ((2, SIZE, SIZE, 3), (2, N_CLASSES + 1)),
    ],
)
def test_golden_arrays_of_the_wrong_shape(make_bundle, images, logits):
    folder = make_bundle(images=np.zeros(images, np.uint8), logits=np.zeros(logits))
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder).golden()
    assert str(folder / GOLDEN) in str(caught.value)


def test_golden_images_that_unpack_to_more_than_there_can_be_are_rejected(make_bundle, monkeypatch):
    monkeypatch.setattr("overfly.runtime.bundle.bundle._MAX_GOLDEN_BYTES", 1000)
    bundle = Bundle.open(make_bundle())
    with pytest.raises(BundleError) as caught:
        bundle.golden()
    assert str(bundle.path / GOLDEN) in str(caught.value)
    assert "1000" in str(caught.value)


@pytest.mark.slow
@given(data=st.data())
@REPEATED
def test_any_byte_of_any_file_of_a_folder_counts(bundle, data):
    name = data.draw(st.sampled_from([MANIFEST, *bundle.manifest.files]))
    path = bundle.path / name
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(damaged)
        with pytest.raises(BundleError) as caught:
            Bundle.open(bundle.path).verify()
    finally:
        path.write_bytes(content)
    assert str(caught.value).startswith(str(path))
    Bundle.open(bundle.path).verify()
