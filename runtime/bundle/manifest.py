"""``manifest.json``: what a bundle holds, with a hash for every file and one for itself."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from overfly.runtime.bundle.storage import BundleFiles, is_plain_name
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.documents import dump_document, parse_document
from overfly.runtime.errors import BundleError
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.images.reading import ImageSpec

BUNDLE_SCHEMA = "overfly.bundle/1"

MANIFEST = "manifest.json"
ONNX = "model.onnx"
GOLDEN = "golden.npz"
LABELS = "labels.txt"

# The hashes of a test part of a million images take 70 MB.
_MAX_MANIFEST_BYTES = 256 << 20


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
        The content hashes of the test part, so that it can be found wherever the images are.
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


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Return a record of every file in `folder`, by name, sorted."""
    return {path.name: FileRecord(sha256_file(path), path.stat().st_size) for path in sorted(folder.iterdir())}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` with its own SHA-256 in it."""
    text = dump_document(replace(manifest, sha256=""), schema=BUNDLE_SCHEMA)
    sealed = dump_document(replace(manifest, sha256=text_sha256(text)), schema=BUNDLE_SCHEMA)
    write_atomically(folder / MANIFEST, sealed.encode())


def read_manifest(path: Path, files: BundleFiles) -> Manifest:
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
    return manifest.sha256 == text_sha256(dump_document(replace(manifest, sha256=""), schema=BUNDLE_SCHEMA))


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()
