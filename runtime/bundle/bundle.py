"""The bundle: the one folder, or .zip, that an edge box needs, with a hash for every file in it."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.storage import BundleFiles, is_plain_name, open_files
from overfly.runtime.documents import dump_document, parse_document
from overfly.runtime.errors import BundleError
from overfly.runtime.files.atomic import sha256_file, write_atomically
from overfly.runtime.images.reading import ImageBatch, ImageSpec

BUNDLE_SCHEMA = "overfly.bundle/1"
VARIANTS = ("fp32", "fp16", "int8")

MANIFEST = "manifest.json"
ONNX = "model.onnx"
GOLDEN = "golden.npz"
LABELS = "labels.txt"

# A test part of a million pictures takes 70 MB of hashes.
_MAX_MANIFEST_BYTES = 256 << 20
_MAX_GOLDEN_BYTES = 1 << 30

_BAD_GOLDEN = (OSError, ValueError, KeyError, EOFError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file must be: its SHA-256 and its size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a model's logits are from those of the PyTorch fp32 model.

    Attributes
    ----------
    n_images
        Real images compared.
    max_abs_diff
        The largest absolute difference of any logit.
    min_cosine
        The smallest cosine similarity of an image's two logit vectors.
    top1_agreement
        Fraction of the images with the same top-1 class.
    """

    n_images: int
    max_abs_diff: float
    min_cosine: float
    top1_agreement: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The training images that set the INT8 ranges: by file hash, so that an overlap can be proved."""

    seed: int
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A convolution or matrix product that INT8 left in floating point: its PyTorch module, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class AccuracyControl:
    """How accuracy control made INT8 keep to a bound.

    Attributes
    ----------
    part
        Of which part the images were: ``val``, or ``train`` where there is none; none of them calibrated it.
    n_images
        How many there were.
    max_drop_pp, drop_pp
        Percentage points of accuracy on them that INT8 might lose against PyTorch, and what it lost.
    reverted
        The layers that were put back to floating point for it, by the names of their PyTorch modules.
    """

    part: str
    n_images: int
    max_drop_pp: float
    drop_pp: float
    reverted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """One precision of the model: its two files, how they were made, and its parity.

    Attributes
    ----------
    calibration, float_layers
        Of INT8 only: the images that set its ranges, and every layer that is not in INT8.
    steering
        Of INT8 with a bound on the accuracy it may lose.
    """

    xml: str
    bin: str
    made_by: str
    parity: Parity
    calibration: Calibration | None
    float_layers: tuple[FloatLayer, ...] | None = None
    steering: AccuracyControl | None = None


@dataclass(frozen=True, slots=True)
class OnnxRecord:
    """The ONNX model: its operator set version and its parity."""

    opset: int
    parity: Parity


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the bundle comes from: the run, its split, its seed, and the packages that made it.

    Attributes
    ----------
    run_sha256, split_sha256
        Of ``run.json`` and ``split.json``.
    test_sha256
        The content hashes of the test part, so that it can be found wherever the pictures lie.
    """

    run_sha256: str
    split_sha256: str
    seed: int
    test_sha256: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes
    ----------
    output
        What the model returns: always ``"logits"`` so far, float32 of shape ``[N, len(classes)]``.
    golden_part
        The part of the split that the golden images are of: ``test``; ``val`` or ``train`` where the
        test part was not there at export.
    files
        Every file of the bundle but the manifest itself.
    sha256
        Of the manifest's own text with this value left empty: it covers every byte of the file.
    """

    model: str
    classes: tuple[str, ...]
    image: ImageSpec
    output: str
    golden_part: str
    files: dict[str, FileRecord]
    onnx: OnnxRecord
    variants: dict[str, VariantRecord]
    provenance: Provenance
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse file names that lead out of the bundle, unknown variants, and classes that can't name answers."""
        if not self.variants or not set(self.variants) <= set(VARIANTS):
            raise ValueError(f"the variants are {sorted(self.variants)}, expected some of {', '.join(VARIANTS)}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError("there is no class, or one twice")
        for name in self.files:
            if not is_plain_name(name):
                raise ValueError(f"the file name {name!r} is not a plain name")


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """Decoded images and the answers that were signed off.

    Attributes
    ----------
    images
        uint8, shape ``[N, size, size, 3]``, RGB.
    logits
        float32, shape ``[N, n_classes]``, of the PyTorch fp32 model.
    """

    images: ImageBatch
    logits: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. Its files are checked against the manifest when they are asked for."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Bundle":
        """Read the manifest of the bundle in the folder, or the .zip, at `path`.

        Raises
        ------
        BundleError
            When there is neither, no manifest, or one that is not valid or was altered.
        """
        return cls(path, _read_manifest(path, open_files(path)))

    def place(self, name: str) -> Path:
        """Return where a file is, as a person would say it; inside a .zip it can't be opened by that path."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """Return the content of a listed file, which is what the manifest says.

        Raises
        ------
        BundleError
            When the file is not listed, missing or altered.
        """
        return b"".join(self._checked(open_files(self.path), name))

    def manifest_sha256(self) -> str:
        """Return the SHA-256 of ``manifest.json`` as it lies in the bundle."""
        return _digest(dump_document(self.manifest, schema=BUNDLE_SCHEMA))

    def verify(self) -> None:
        """Check every file against the manifest, and that nothing was added.

        Raises
        ------
        BundleError
            For the first file that is missing, altered or not listed.
        """
        files = open_files(self.path)
        for name in self.manifest.files:
            for _ in self._checked(files, name):
                pass
        for name in files.names():
            if name != MANIFEST and name not in self.manifest.files:
                raise BundleError(
                    f"{self.place(name)} is not listed in the manifest: remove it, or copy the bundle again"
                )

    def _checked(self, files: BundleFiles, name: str) -> Iterator[bytes]:
        """Yield the content of a listed file; raise when it ends, or is too long, and was not what is listed."""
        record = self.manifest.files.get(name)
        if record is None:
            raise BundleError(f"{self.place(MANIFEST)} does not list {name}: export the run again")
        digest, size_bytes = hashlib.sha256(), 0
        try:
            for chunk in files.chunks(name):
                digest.update(chunk)
                size_bytes += len(chunk)
                if size_bytes > record.size_bytes:
                    break
                yield chunk
        except FileNotFoundError:
            raise BundleError(
                f"{self.place(name)} is missing: copy the whole bundle again, or export the run again"
            ) from None
        if size_bytes != record.size_bytes or digest.hexdigest() != record.sha256:
            raise BundleError(
                f"{self.place(name)} was altered: its SHA-256 is not the {record.sha256[:12]}... of the manifest; "
                "copy the bundle again, or export the run again"
            )

    def variant(self, name: str) -> VariantRecord:
        """Return the record of a variant.

        Raises
        ------
        BundleError
            When the bundle was exported without it.
        """
        try:
            return self.manifest.variants[name]
        except KeyError:
            held = ", ".join(self.manifest.variants)
            raise BundleError(
                f"{self.path} has no variant {name}: it holds {held}; export the run with --variant {name}"
            ) from None

    def smallest_variant(self) -> str:
        """Return the name of the variant with the fewest bytes."""
        return max(self.manifest.variants, key=VARIANTS.index)

    def golden(self) -> ReferenceSet:
        """Load the golden images and logits.

        Raises
        ------
        BundleError
            When the file is missing, altered, or has arrays of the wrong shape.
        """
        content, place = self.read(GOLDEN), self.place(GOLDEN)
        try:
            _refuse_bomb(content)
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                golden = ReferenceSet(arrays["images"], arrays["logits"])
        except _BAD_GOLDEN as error:
            raise BundleError(f"{place} holds no golden images and logits ({error}): export the run again") from error
        size, n_classes = self.manifest.image.size, len(self.manifest.classes)
        n = len(golden.images) if golden.images.ndim else 0
        found = [(array.dtype.name, array.shape) for array in (golden.images, golden.logits)]
        if not n or found != [("uint8", (n, size, size, 3)), ("float32", (n, n_classes))]:
            raise BundleError(f"{place} holds arrays of the wrong shape or type, or none: export the run again")
        if not np.isfinite(golden.logits).all():
            raise BundleError(f"{place} holds logits that are not finite numbers: export the run again")
        return golden


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Return a record of every file in `folder`, by name, sorted."""
    return {path.name: FileRecord(sha256_file(path), path.stat().st_size) for path in sorted(folder.iterdir())}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` with its own SHA-256 in it."""
    text = dump_document(replace(manifest, sha256=""), schema=BUNDLE_SCHEMA)
    sealed = dump_document(replace(manifest, sha256=_digest(text)), schema=BUNDLE_SCHEMA)
    write_atomically(folder / MANIFEST, sealed.encode())


def _read_manifest(path: Path, files: BundleFiles) -> Manifest:
    """Read the manifest of a bundle; raise BundleError when it is missing, not valid or altered."""
    place = path / MANIFEST
    content = b""
    try:
        for chunk in files.chunks(MANIFEST):
            content += chunk
            if len(content) > _MAX_MANIFEST_BYTES:
                raise BundleError(f"{place} is longer than {_MAX_MANIFEST_BYTES} bytes: copy the bundle again")
        text = content.decode()
    except FileNotFoundError:
        raise BundleError(
            f"{place} is missing: expected a file with schema {BUNDLE_SCHEMA}; is {path} complete?"
        ) from None
    except UnicodeDecodeError as error:
        raise BundleError(f"{place} can't be read as JSON ({error}): make or copy {path} again") from error
    manifest = parse_document(text, place, Manifest, schema=BUNDLE_SCHEMA, error=BundleError)
    if dump_document(manifest, schema=BUNDLE_SCHEMA) != text or not _is_sealed(manifest):
        raise BundleError(
            f"{place} was altered: its text is not the one whose SHA-256 it names; "
            "copy the bundle again, or export the run again"
        )
    return manifest


def _is_sealed(manifest: Manifest) -> bool:
    """Whether a manifest names its own SHA-256."""
    return manifest.sha256 == _digest(dump_document(replace(manifest, sha256=""), schema=BUNDLE_SCHEMA))


def _digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_bomb(content: bytes) -> None:
    """Raise ValueError when a .npz unpacks to more than golden images can take."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MAX_GOLDEN_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes, expected at most {_MAX_GOLDEN_BYTES}")
