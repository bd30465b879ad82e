"""The bundle: the one folder an edge box needs, with a hash for every file in it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from overfly.runtime.documents import read_document
from overfly.runtime.errors import BundleError
from overfly.runtime.files import sha256_file
from overfly.runtime.images import ImageBatch, ImageSpec

BUNDLE_SCHEMA = "overfly.bundle/1"
VARIANTS = ("fp32", "fp16", "int8")

MANIFEST = "manifest.json"
ONNX = "model.onnx"
GOLDEN = "golden.npz"
LABELS = "labels.txt"


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
        Real test images compared.
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
class VariantRecord:
    """One precision of the model: its two files, how they were made, and its parity."""

    xml: str
    bin: str
    made_by: str
    parity: Parity
    calibration: Calibration | None


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
    files
        Every file of the bundle but the manifest itself.
    """

    model: str
    classes: tuple[str, ...]
    image: ImageSpec
    output: str
    files: dict[str, FileRecord]
    onnx: OnnxRecord
    variants: dict[str, VariantRecord]
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse file names that lead out of the bundle, unknown variants, and classes that can't name answers."""
        if not self.variants or not set(self.variants) <= set(VARIANTS):
            raise ValueError(f"the variants are {sorted(self.variants)}, expected some of {', '.join(VARIANTS)}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError("there is no class, or one twice")
        for name in self.files:
            if name != Path(name).name or name in {"", ".", ".."} or "\\" in name:
                raise ValueError(f"the file name {name!r} is not a plain name")


@dataclass(frozen=True, slots=True)
class Golden:
    """Decoded test images and the answers that were signed off.

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
        """Read the manifest of the bundle in the folder `path`.

        Raises
        ------
        BundleError
            When there is no folder, no manifest, or a manifest that is not valid.
        """
        if not path.is_dir():
            found = "a file" if path.exists() else "nothing"
            raise BundleError(f"{path} is not a bundle: found {found}, expected the folder written by overfly export")
        return cls(path, read_document(path / MANIFEST, Manifest, schema=BUNDLE_SCHEMA, error=BundleError))

    def file(self, name: str) -> Path:
        """Return the path of a listed file whose content is what the manifest says.

        Raises
        ------
        BundleError
            When the file is not listed, missing or altered.
        """
        record = self.manifest.files.get(name)
        path = self.path / name
        if record is None:
            raise BundleError(f"{self.path / MANIFEST} does not list {name}: export the run again")
        if not path.is_file():
            raise BundleError(f"{path} is missing: copy the whole bundle again, or export the run again")
        if path.stat().st_size != record.size_bytes or sha256_file(path) != record.sha256:
            raise BundleError(
                f"{path} was altered: its SHA-256 is not the {record.sha256[:12]}... of the manifest; "
                "copy the bundle again, or export the run again"
            )
        return path

    def verify(self) -> None:
        """Check every file against the manifest, and that nothing was added.

        Raises
        ------
        BundleError
            For the first file that is missing, altered or not listed.
        """
        for name in self.manifest.files:
            self.file(name)
        for path in sorted(self.path.iterdir()):
            if path.name != MANIFEST and path.name not in self.manifest.files:
                raise BundleError(f"{path} is not listed in the manifest: remove it, or copy the bundle again")

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

    def golden(self) -> Golden:
        """Load the golden images and logits.

        Raises
        ------
        BundleError
            When the file is missing, altered, or has arrays of the wrong shape.
        """
        path = self.file(GOLDEN)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                golden = Golden(arrays["images"], arrays["logits"])
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} holds no golden images and logits ({error}): export the run again") from error
        size, n_classes = self.manifest.image.size, len(self.manifest.classes)
        n = len(golden.images) if golden.images.ndim else 0
        found = [(array.dtype, array.shape) for array in (golden.images, golden.logits)]
        if not n or found != [(np.uint8, (n, size, size, 3)), (np.float32, (n, n_classes))]:
            raise BundleError(f"{path} holds arrays of the wrong shape or type, or none: export the run again")
        if not np.isfinite(golden.logits).all():
            raise BundleError(f"{path} holds logits that are not finite numbers: export the run again")
        return golden


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Return a record of every file in `folder`, by name, sorted."""
    return {path.name: FileRecord(sha256_file(path), path.stat().st_size) for path in sorted(folder.iterdir())}
