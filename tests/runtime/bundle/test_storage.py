"""A bundle in one .zip: read where it is, with the same answers as the folder."""

import shutil
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import GOLDEN, LABELS, MANIFEST
from overfly.runtime.bundle.storage import ZipFiles, write_zip
from overfly.runtime.errors import BundleError
from overfly.runtime.inference.compile import compile_variant

REPEATED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def packed(bundle):
    """The small bundle as a .zip."""
    path = bundle.path.with_suffix(".zip")
    write_zip(path, bundle.path)
    return path


def rewrite(path, change):
    """Write a .zip again, each entry as `change` returns it: a list of (ZipInfo, content)."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in change(entries):
            archive.writestr(entry, content)


def test_it_holds_what_the_folder_holds(bundle, packed):
    opened = Bundle.open(packed)
    opened.verify()
    assert opened.manifest == bundle.manifest
    assert opened.manifest_sha256() == bundle.manifest_sha256()
    for name in bundle.manifest.files:
        assert opened.read(name) == (bundle.path / name).read_bytes()
    assert (opened.golden().logits == bundle.golden().logits).all()


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
def test_it_gives_the_folders_answers_and_writes_nothing_beside_it(bundle, packed, variant):
    before = sorted(path.name for path in packed.parent.iterdir())
    images = bundle.golden().images
    expected = compile_variant(bundle, variant=variant, device="CPU", cache=False).logits(images)
    found = compile_variant(Bundle.open(packed), variant=variant, device="CPU", cache=False).logits(images)
    assert (found == expected).all()
    assert sorted(path.name for path in packed.parent.iterdir()) == before


def test_the_same_files_give_the_same_bytes(bundle, packed, tmp_path):
    other = shutil.copytree(bundle.path, tmp_path / "other", copy_function=shutil.copyfile)
    write_zip(tmp_path / "other.zip", other)
    assert (tmp_path / "other.zip").read_bytes() == packed.read_bytes()


def test_one_that_another_tool_has_deflated_is_read_too(bundle, packed):
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in bundle.path.iterdir():
            archive.write(path, path.name)
    Bundle.open(packed).verify()


def change_contents(path, change):
    """Change a .zip's table of contents in place; the first of its entries starts at 0."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    table = content[start:]
    change(table)
    path.write_bytes(content[:start] + table)


def test_an_encrypted_entry_is_one_sentence(packed):
    def encrypt(table):
        table[8] |= 1

    change_contents(packed, encrypt)
    with pytest.raises(BundleError) as caught:
        Bundle.open(packed).verify()
    assert str(packed) in str(caught.value)


def test_an_entry_is_read_no_further_than_the_manifest_lists(packed, monkeypatch):
    bomb = zipfile.ZipInfo(LABELS)
    bomb.compress_type = zipfile.ZIP_DEFLATED
    rewrite(packed, lambda entries: [(bomb, bytes(8 << 20)) if e[0].filename == LABELS else e for e in entries])
    n_read = 0
    chunks = ZipFiles.chunks

    def counted(self, name):
        nonlocal n_read
        for chunk in chunks(self, name):
            n_read += name == LABELS
            yield chunk

    monkeypatch.setattr(ZipFiles, "chunks", counted)
    with pytest.raises(BundleError) as caught:
        Bundle.open(packed).read(LABELS)
    assert str(packed / LABELS) in str(caught.value)
    assert n_read == 1


@pytest.mark.parametrize("name", [MANIFEST, "fp32.bin", GOLDEN])
def test_a_missing_file_is_named(packed, name):
    rewrite(packed, lambda entries: [(info, content) for info, content in entries if info.filename != name])
    with pytest.raises(BundleError) as caught:
        Bundle.open(packed).verify()
    assert str(packed / name) in str(caught.value)


def test_an_added_file_is_named(packed):
    rewrite(packed, lambda entries: [*entries, (zipfile.ZipInfo("notes.txt"), b"")])
    with pytest.raises(BundleError) as caught:
        Bundle.open(packed).verify()
    assert str(packed / "notes.txt") in str(caught.value)


def test_what_a_mac_adds_to_a_zip_is_no_error(packed):
    added = ["__MACOSX/._manifest.json", "._labels.txt", ".DS_Store"]
    rewrite(packed, lambda entries: [*entries, *((zipfile.ZipInfo(name), b"") for name in added)])
    assert Bundle.open(packed).verify() == sorted(added)


def test_an_altered_file_whose_zip_is_in_order_is_named(packed):
    rewrite(packed, lambda entries: [(i, c + b"\0" if i.filename == "fp32.bin" else c) for i, c in entries])
    with pytest.raises(BundleError) as caught:
        Bundle.open(packed).verify()
    assert str(packed / "fp32.bin") in str(caught.value)
    assert Bundle.open(packed).manifest.files["fp32.bin"].sha256[:12] in str(caught.value)


def read_all(path):
    """Return the manifest and every file of a bundle, or the sentence that it is rejected with."""
    try:
        opened = Bundle.open(path)
        opened.verify()
        return opened.manifest, {name: opened.read(name) for name in opened.manifest.files}
    except BundleError as error:
        return str(error)


@given(data=st.data())
@REPEATED
def test_no_byte_of_a_zip_changes_what_is_read(bundle, packed, data):
    content = packed.read_bytes()
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        packed.write_bytes(damaged)
        found = read_all(packed)
    finally:
        packed.write_bytes(content)
    # A .zip has fields that decide nothing, such as dates.
    if isinstance(found, str):
        assert found.startswith(str(packed))
    else:
        assert found == read_all(bundle.path)


@given(length=st.integers(0, 100_000))
@settings(REPEATED, max_examples=50)
def test_a_zip_that_was_cut_is_rejected(packed, length):
    content = packed.read_bytes()
    try:
        packed.write_bytes(content[: min(length, len(content) - 1)])
        # The golden images are a .zip within: cut behind them, theirs is the last table of contents.
        assert isinstance(read_all(packed), str)
    finally:
        packed.write_bytes(content)
