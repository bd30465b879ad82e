"""``manifest.json``: describes a bundle, with a hash for every other file and for itself."""

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from overfly.runtime.bundle.storage import BundleFiles, is_plain_name
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.documents import ADDED_LATER, dump_document, missing_document, parse_document
from overfly.runtime.errors import BundleError
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.images.reading import ImageSpec

BUNDLE_SCHEMA = "overfly.bundle/1"

MANIFEST = "manifest.json"
ONNX = "model.onnx"
GOLDEN = "golden.npz"
LABELS = "labels.txt"

# Red, green and blue.
N_COLORS = 3

# Name of the second output of an IR.
KNOWN_SCORE = "known_score"

# Enough to recognize a training image: among a million images, two share 64 bits with a probability of 3e-8.
N_SHORT_DIGITS = 16

# The hashes of a test part of a million images take 70 MB.
_MAX_MANIFEST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The expected SHA-256 and size of a file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a model's logits differ from those of the PyTorch fp32 model.

    Attributes
    ----------
    n_images
        Number of images that were compared.
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
class CalibrationRecord:
    """The training images that set the INT8 ranges, by the SHA-256 of their files, and the seed that drew them."""

    seed: int
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A convolution or matrix product of the INT8 variant that stays in floating point: its PyTorch module, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class AccuracyControl:
    """How accuracy control limited the accuracy that INT8 loses.

    Attributes
    ----------
    part
        Part of the split that the accuracy was measured on: ``val``, or ``train`` if ``val`` has too few images. No
        calibration image is used.
    n_images
        Number of these images.
    max_drop_pp, drop_pp
        The allowed and the measured loss of accuracy against PyTorch, in percentage points.
    reverted
        Names of the PyTorch modules whose layers were returned to floating point.
    """

    part: str
    n_images: int
    max_drop_pp: float
    drop_pp: float
    reverted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """One precision of the model.

    Attributes
    ----------
    xml, bin
        Names of the two files.
    made_by
        How they were made, in words.
    parity
        Parity at export.
    calibration, float_layers
        For INT8: the images that set its ranges, and every layer that is not in INT8.
    steering
        The record of accuracy control, for INT8 with a limit on the accuracy that it may lose.
    """

    xml: str
    bin: str
    made_by: str
    parity: Parity
    calibration: CalibrationRecord | None
    float_layers: tuple[FloatLayer, ...] | None = None
    # Its name is a key of manifest.json, and manifests that exist must stay valid.
    steering: AccuracyControl | None = None


@dataclass(frozen=True, slots=True)
class OnnxRecord:
    """The ONNX model: its operator set version and its parity."""

    opset: int
    parity: Parity


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the bundle was made from: the run, its split, its seed and the packages.

    Attributes
    ----------
    run_sha256, split_sha256
        SHA-256 of ``run.json`` and ``split.json``.
    seed
        Seed of the training.
    test_sha256
        SHA-256 of each image file in the test part, so that it can be found in any folder.
    versions
        Versions of the packages, by name.
    train_sha256, val_sha256
        The first `N_SHORT_DIGITS` digits of the SHA-256 of each image file in the training and the validation part;
        None in a bundle of an earlier version.
    """

    run_sha256: str
    split_sha256: str
    seed: int
    test_sha256: tuple[str, ...]
    versions: dict[str, str]
    train_sha256: tuple[str, ...] | None = field(default=None, metadata=ADDED_LATER)
    val_sha256: tuple[str, ...] | None = field(default=None, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """What the images of a training set show of the ground, if they were cut from rasters.

    Attributes
    ----------
    scene_m
        Side of an image on the ground, in meters.
    bands
        Numbers of the raster's bands for red, green and blue, from 1.
    """

    scene_m: float
    bands: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raise ValueError if the side is not positive, or if there are not three bands from 1 on."""
        if not 0 < self.scene_m < math.inf:
            raise ValueError(f"scene_m is {self.scene_m}, expected a positive number of meters")
        if len(self.bands) != N_COLORS or min(self.bands) < 1:
            raise ValueError(f"bands is {self.bands}, expected three numbers from 1 on")


@dataclass(frozen=True, slots=True)
class TemperatureScaling:
    """How the probabilities were calibrated: the last layer's weights are divided by a temperature (Guo et al. 2017).

    Attributes
    ----------
    temperature
        What all logits were divided by, positive.
    part
        Part of the split that it was fitted on.
    n_images
        Number of these images.
    """

    temperature: float
    part: str
    n_images: int

    def __post_init__(self) -> None:
        """Raise ValueError if the temperature is not a positive number, or there is no image."""
        if not 0 < self.temperature < math.inf or self.n_images < 1:
            raise ValueError(f"temperature {self.temperature} of {self.n_images} images, expected positive numbers")


@dataclass(frozen=True, slots=True)
class KnownScore:
    """The second output of each IR, ``known_score``: how much an image looks like those that the model was trained on.

    Attributes
    ----------
    method
        What the score is, in words.
    n_training_images
        Number of the training images that it was made from.
    acceptance
        The share of images like the held-out ones that is expected to reach the threshold.
    part
        Part of the split that the thresholds were found on.
    n_images
        Number of these images.
    thresholds
        The lowest score of a known image, by variant.
    """

    method: str
    n_training_images: int
    acceptance: float
    part: str
    n_images: int
    thresholds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes
    ----------
    model
        Name of the architecture.
    classes
        Names of the classes, in the order of the logits.
    image
        How an image becomes the model's input.
    output
        What the model returns first: always ``"logits"`` so far, float32 of shape ``[N, len(classes)]``.
    golden_part
        Part of the split that the golden images come from: ``test``, or ``val`` or ``train`` if the test part was
        not available at export.
    files
        Every file of the bundle except the manifest, by name.
    onnx, variants, provenance
        The ONNX model, the variants by name, and what they were made from.
    scene
        What the training images show of the ground; None if that is unknown.
    temperature_scaling
        How the probabilities were calibrated; None if they were not.
    known_score
        The known score and its thresholds; None if the IRs have no such output.
    sha256
        SHA-256 of the manifest's own text with this value left empty. It covers every byte of the file.
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
    scene: SceneSpec | None = field(default=None, metadata=ADDED_LATER)
    temperature_scaling: TemperatureScaling | None = field(default=None, metadata=ADDED_LATER)
    known_score: KnownScore | None = field(default=None, metadata=ADDED_LATER)
    sha256: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for unknown variants, missing thresholds or classes, or a file outside the bundle."""
        if not self.variants or not set(self.variants) <= set(VARIANTS):
            raise ValueError(f"the variants are {sorted(self.variants)}, expected some of {', '.join(VARIANTS)}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError("the classes are missing or repeated")
        if self.known_score is not None and set(self.known_score.thresholds) != set(self.variants):
            raise ValueError("the known score has thresholds of other variants")
        for name in self.files:
            if not is_plain_name(name):
                raise ValueError(f"the file name {name!r} is not a plain name")


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Return a record of every file in `folder`, by name, sorted."""
    return {path.name: FileRecord(sha256_file(path), path.stat().st_size) for path in sorted(folder.iterdir())}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` into `folder`, with its own SHA-256 in it."""
    write_atomically(folder / MANIFEST, sealed_text(manifest).encode())


def read_manifest(path: Path, files: BundleFiles) -> Manifest:
    """Read the manifest of a bundle.

    Parameters
    ----------
    path
        The bundle, for messages.
    files
        Its files.

    Raises
    ------
    BundleError
        If the manifest is missing, not valid or altered.
    """
    manifest_path = path / MANIFEST
    content = b""
    try:
        for chunk in files.chunks(MANIFEST):
            content += chunk
            if len(content) > _MAX_MANIFEST_BYTES:
                raise BundleError(f"{manifest_path} is longer than {_MAX_MANIFEST_BYTES} bytes: copy the bundle again")
    except FileNotFoundError:
        raise BundleError(missing_document(manifest_path, BUNDLE_SCHEMA)) from None
    # overfly writes ASCII, so a byte that is no UTF-8 does not get past the comparison below.
    text = content.decode(errors="replace")
    manifest = parse_document(text, manifest_path, Manifest, schema=BUNDLE_SCHEMA, error=BundleError)
    if text != sealed_text(manifest):
        raise BundleError(
            f"{manifest_path} was altered: its SHA-256 is not the one that it records; "
            "copy the bundle again, or export the run again"
        )
    return manifest


def sealed_text(manifest: Manifest) -> str:
    """Return the text of a manifest's file, with its own SHA-256 in it."""
    unsealed = dump_document(replace(manifest, sha256=""), schema=BUNDLE_SCHEMA)
    seal = hashlib.sha256(unsealed.encode()).hexdigest()
    # Only keys of the document itself stand behind one space.
    return unsealed.replace('\n "sha256": ""', f'\n "sha256": "{seal}"')
