"""The record of ``report.json``: its rows, the images, the machine, and the conclusions."""

from dataclasses import dataclass

from overfly.benchmarks.results.packed import unpack
from overfly.benchmarks.results.row_records import Ratio, Row
from overfly.runtime.bundle.variants import VARIANTS

REPORT_SCHEMA = "overfly.report/7"

# Where the evaluated images come from.
TEST_PART = "test part of the run"
TEST_FOLDER = "test part of the data folder"
ALL_IMAGES = "all images of the data folder"
# With several bundles.
EVERY_TEST_PART = "test part of every run"
COMMON_IMAGES = "images that count for every bundle"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a report is not valid, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether the figures can be relied on: they can if there is no reason against it.

    Attributes
    ----------
    reasons
        A reason for each thing that is wrong.
    passed
        What each check found that found nothing wrong.
    observations
        What is worth knowing, and speaks against nothing.
    """

    valid: bool
    reasons: tuple[Reason, ...]
    passed: tuple[str, ...]
    observations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lead:
    """How many times as fast as the next best row that can be deployed the recommended one is."""

    next_best: str
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to deploy.

    Attributes
    ----------
    latency, throughput
        Indices of the best OpenVINO rows for single images and for many; None if none qualifies.
    latency_lead, throughput_lead
        How they compare with the next best; None if there is no other.
    max_drop_pp
        How many percentage points of accuracy a row could lose and still qualify; None allows a loss that is not
        significant.
    sentence
        The same in words.
    """

    latency: int | None
    throughput: int | None
    latency_lead: Lead | None
    throughput_lead: Lead | None
    max_drop_pp: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The images on which the rows were evaluated.

    Attributes
    ----------
    source
        `TEST_PART`, `TEST_FOLDER` or `ALL_IMAGES`; with several bundles also `EVERY_TEST_PART` or `COMMON_IMAGES`.
    n_available
        The number of images of that source; a quick bench evaluates fewer.
    names
        Paths of the images, relative to the data folder.
    truth
        The class index of each image.
    sha256
        SHA-256 of their sorted content hashes, one per line: equal for the same images in any folder.
    """

    source: str
    n_available: int
    names: tuple[str, ...]
    truth: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """A bundle that was measured.

    Attributes
    ----------
    name
        Name of its folder or file, with as many folders above it as it takes to tell several bundles apart.
    manifest_sha256
        SHA-256 of its manifest.
    model
        Name of the model, such as ``mobilenet_v2``.
    image_size
        Height and width of the model's input in pixels.
    n_images
        How many images would be used if the bundle were measured alone: with several bundles, only those are used that
        all of them have in common.
    n_train, n_val
        How many of the evaluated images its run was trained and validated on.
    """

    name: str
    manifest_sha256: str
    model: str
    image_size: int
    n_images: int
    n_train: int
    n_val: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and its state.

    Attributes
    ----------
    host
        The machine's network name.
    n_cores
        Number of logical cores that this process may use.
    affinity
        The numbers of these cores; None if the system does not report them.
    power_source
        ``mains`` or ``battery``; None if the machine does not report it.
    power_saving
        What saves power at the cost of speed, such as a CPU governor; None if nothing is known.
    load_before, load_during
        Share of the processor's time, in [0, 1], that other programs used before and during the measurement;
        None if it can't be measured.
    timestamp
        UTC, ISO 8601.
    """

    host: str
    system: str
    cpu: str
    n_cores: int
    affinity: tuple[int, ...] | None
    memory_bytes: int | None
    power_source: str | None
    power_saving: str | None
    load_before: float | None
    load_during: float | None
    versions: dict[str, str]
    timestamp: str


@dataclass(frozen=True, slots=True)
class ActivationMap:
    """What each part of an image adds to the logit of a class, see `runtime.explanation.activation_maps`.

    Attributes
    ----------
    label
        Index of the class.
    rows
        Each row of the map from the top, as `results.packed` writes it.
    """

    label: int
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that ``report.html`` shows.

    Attributes
    ----------
    image
        Index of the image.
    jpeg
        The image as the model got it, at most 128 pixels high and wide: a JPEG file in base64.
    maps
        The maps of the true class and of the classes that the baseline and the compared row take it for, each once;
        empty if the network has none.
    """

    image: int
    jpeg: str
    maps: tuple[ActivationMap, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The content of ``report.json``.

    Attributes
    ----------
    overfly_version
        The version of overfly that measured.
    bundles
        The bundles that were measured, at least one.
    baseline
        Index of the row that the others are compared with; None if there is none.
    pictures
        Some of the images that the compared row classifies differently from the baseline, and its surest mistakes.
    no_maps
        A sentence that says why the pictures have no activation maps; None if they have.
    """

    validity: Validity
    recommendation: Recommendation
    overfly_version: str
    quick: bool
    bundles: tuple[BundleFacts, ...]
    environment: Environment
    classes: tuple[str, ...]
    images: EvaluationSet
    baseline: int | None
    rows: tuple[Row, ...]
    pictures: tuple[Picture, ...] = ()
    no_maps: str | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        n_images = len(self.images.names)
        predictions = [row.measurements.predictions for row in self.rows if row.measurements is not None]
        logits = [row.measurements.logits for row in self.rows if row.measurements is not None]
        if any(len(values) != n_images for values in (self.images.truth, *predictions, *logits)):
            raise ValueError(f"there are {n_images} image names, but not as many labels, predictions or logits")
        best = self.recommendation
        for what, row in (("baseline", self.baseline), ("best row", best.latency), ("best row", best.throughput)):
            if row is not None and not 0 <= row < len(self.rows):
                raise ValueError(f"the {what} is row {row}, but there are {len(self.rows)} rows")
        names = [bundle.name for bundle in self.bundles]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"the bundles are {names}, expected at least one, each with a name of its own")
        if unknown := sorted({row.spec.bundle for row in self.rows} - (set(names) if len(names) > 1 else {""})):
            raise ValueError(f"a row is of the bundle {unknown[0]!r}, but the bundles are {names}")
        indices = {*self.images.truth, *(index for of_row in predictions for index in of_row)}
        if indices and not (min(indices) >= 0 and max(indices) < len(self.classes)):
            raise ValueError(f"a class index is not between 0 and {len(self.classes) - 1}")
        if any(len(unpack(text)) != len(self.classes) for of_row in logits for text in of_row):
            raise ValueError(f"there are {len(self.classes)} classes, but not as many logits of each image")
        if any(not 0 <= picture.image < n_images for picture in self.pictures):
            raise ValueError(f"a picture is of an image that is not between 0 and {n_images - 1}")

    @property
    def has_several_bundles(self) -> bool:
        """Whether more than one bundle was measured; only then a row has the name of its bundle."""
        return len(self.bundles) > 1

    @property
    def compared_row(self) -> int | None:
        """Index of the row that is shown next to the baseline: the first quantized row, else the last variant.

        With several bundles it is the one that is recommended for latency, if one is that is not the baseline.
        """
        recommended = self.recommendation.latency
        if self.has_several_bundles and recommended not in {None, self.baseline}:
            return recommended
        others = [i for i, row in enumerate(self.rows) if row.is_deployable and i != self.baseline]
        quantized = [i for i in others if VARIANTS[self.rows[i].spec.variant].is_quantized]
        return next(iter(quantized or others[-1:]), None)

    def bundle_of(self, row: Row) -> int:
        """Return the index of a row's bundle."""
        return [bundle.name for bundle in self.bundles].index(row.spec.bundle) if self.has_several_bundles else 0

    def rows_of(self, bundle: int) -> list[Row]:
        """Return the rows of the bundle with this index."""
        return [row for row in self.rows if self.bundle_of(row) == bundle]

    @property
    def pictured_bundle(self) -> int:
        """Index of the bundle whose images and activation maps the pictures show: that of the compared row."""
        return 0 if self.compared_row is None else self.bundle_of(self.rows[self.compared_row])
