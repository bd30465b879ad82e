"""What ``report.json`` holds: its rows, what they were computed from, and what was measured on what."""

from dataclasses import dataclass

OK = "ok"

TEST_PART = "test part of the run"
ALL_IMAGES = "all images of the data folder"

PYTORCH = "pytorch"
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
TITLES = {PYTORCH: "PyTorch", ONNXRUNTIME: "ONNX Runtime", OPENVINO: "OpenVINO"}


@dataclass(frozen=True, slots=True)
class Latency:
    """Single-stream latencies, summarised, in milliseconds.

    Attributes
    ----------
    p99
        None below 1,000 samples.
    std
        Of the sample; None for a single one.
    n
        Number of samples.
    """

    p50: float
    p90: float
    p99: float | None
    mean: float
    std: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as the baseline, from rounds in which both had their turn.

    Attributes
    ----------
    value
        The median over the rounds.
    low, high
        The smallest and the largest of a round.
    """

    value: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether every round says the same of who is faster."""
        return self.low > 1 or self.high < 1


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """From the files of the bundle to a model that can infer, in milliseconds.

    Attributes
    ----------
    cold
        Without a model cache.
    cached
        With the cache filled; None where there is no cache.
    """

    cold: float
    cached: float | None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a process of its own established; None is what it could not.

    Attributes
    ----------
    load_ms, first_inference_ms
        Milliseconds.
    peak_rss_bytes
        After loading and a few inferences, the interpreter and its libraries included.
    """

    load_ms: LoadTimes | None = None
    first_inference_ms: float | None = None
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What was established of one model on one device; None is what was not.

    Attributes
    ----------
    backend
        ``pytorch``, ``onnxruntime`` or ``openvino``.
    variant
        ``fp32``, ``fp16`` or ``int8``.
    configuration
        What sets it apart from the plain row of the same backend and variant, such as ``compiled``;
        empty for the plain one.
    device, device_name
        What it really ran on, and its full name.
    requested_precision, execution_precision
        What the device was asked to compute in (``auto`` left it the choice), and what it did.
    n_threads
        With how many threads one image is computed; None where that is the library's own choice and
        it does not tell, or on a GPU.
    accuracy, f1_macro, kappa
        Fractions.
    accuracy_ci95, f1_macro_ci95, kappa_ci95
        Their 95% intervals, by the bootstrap.
    delta_accuracy_pp, delta_images
        Accuracy less the baseline's, in percentage points and in images.
    mcnemar_p
        Exact two-sided p of the difference.
    agreement
        Fraction of the images with the baseline's answer.
    latency_ms
        Of the model alone, from pixels to logits.
    latency_speedup, throughput_speedup
        How many times as fast as the baseline, by median latency and by throughput.
    file_latency_ms
        From a picture's file to its label: decoding, resizing, inference.
    first_inference_ms
        The first one after loading, in a process of its own.
    throughput_ips, file_throughput_ips
        Images per second by wall clock, many in flight: the model alone, and from files to labels.
    size_bytes
        The weights and graph on disk.
    peak_rss_bytes
        Peak memory of a process that loads the row and infers a few images.
    status
        ``ok``, or a sentence with the reason why the row failed.
    """

    backend: str
    variant: str
    configuration: str
    device: str
    device_name: str
    requested_precision: str
    execution_precision: str | None
    n_threads: int | None
    accuracy: float | None
    f1_macro: float | None
    kappa: float | None
    n_images: int | None
    accuracy_ci95: tuple[float, float] | None
    f1_macro_ci95: tuple[float, float] | None
    kappa_ci95: tuple[float, float] | None
    delta_accuracy_pp: float | None
    delta_images: int | None
    mcnemar_p: float | None
    agreement: float | None
    latency_ms: Latency | None
    latency_speedup: Ratio | None
    file_latency_ms: Latency | None
    first_inference_ms: float | None
    throughput_ips: float | None
    throughput_speedup: Ratio | None
    file_throughput_ips: float | None
    load_ms: LoadTimes | None
    size_bytes: int | None
    peak_rss_bytes: int | None
    status: str

    @property
    def name(self) -> str:
        """What a person calls it, such as ``OpenVINO int8 CPU``."""
        device = self.device if self.backend == OPENVINO else ""
        return " ".join(part for part in (TITLES[self.backend], self.variant, self.configuration, device) if part)

    @property
    def is_deployable(self) -> bool:
        """Whether it worked and `overfly predict` can run it: a variant of the bundle, by OpenVINO."""
        return self.status == OK and self.backend == OPENVINO and not self.configuration

    @property
    def is_eager(self) -> bool:
        """Whether it is PyTorch as most people run it."""
        return self.backend == PYTORCH and not self.configuration

    def __post_init__(self) -> None:
        """Refuse a backend without a title."""
        if self.backend not in TITLES:
            raise ValueError(f"the backend is {self.backend!r}, expected one of {', '.join(TITLES)}")


@dataclass(frozen=True, slots=True)
class ThroughputSample:
    """A piece of a throughput measurement: how many images in how many seconds of wall clock."""

    n_images: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """What a row's figures were computed from.

    Attributes
    ----------
    predictions
        A class index for each judged image, in their order; empty when the row failed.
    latency_rounds_ms, file_latency_rounds_ms
        The latency samples of each round: of the model alone, and from file to label.
    throughput_rounds, file_throughput_rounds
        The stretch of each round, likewise.
    """

    predictions: tuple[int, ...] = ()
    latency_rounds_ms: tuple[tuple[float, ...], ...] = ()
    throughput_rounds: tuple[ThroughputSample, ...] = ()
    file_latency_rounds_ms: tuple[tuple[float, ...], ...] = ()
    file_throughput_rounds: tuple[ThroughputSample, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every figure of a row can be computed: there are predictions, and samples in each round."""
        measured = (self.predictions, self.latency_rounds_ms, self.throughput_rounds)
        files = (self.file_latency_rounds_ms, self.file_throughput_rounds)
        return all((*measured, *files, *self.latency_rounds_ms, *self.file_latency_rounds_ms))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a report is not valid, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the figures can be relied on: they can when there is no reason against it."""

    valid: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variant on a device."""

    variant: str
    device: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What to deploy.

    Attributes
    ----------
    latency, throughput
        The best OpenVINO row for either; None when none qualifies.
    max_drop_pp
        How many points of accuracy a row might lose to qualify; None: no significant loss.
    sentence
        The same for a person.
    """

    latency: Choice | None
    throughput: Choice | None
    max_drop_pp: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The images that were judged.

    Attributes
    ----------
    source
        `TEST_PART` or `ALL_IMAGES`.
    n_available
        How many images that are; fewer are judged with ``--quick``.
    names
        Their paths below the data folder.
    truth
        The class index of each.
    sha256
        Of their sorted content hashes, one a line: the same for the same pictures wherever they lie.
    """

    source: str
    n_available: int
    names: tuple[str, ...]
    truth: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """Which bundle was measured, by name and by the hash of its manifest."""

    name: str
    manifest_sha256: str
    model: str
    image_size: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine, and the state it was in.

    Attributes
    ----------
    host
        The machine's name in its network.
    n_cores
        Logical cores that this process may use.
    affinity
        Their numbers; None where the system does not tell.
    power_source
        ``mains`` or ``battery``; None where the machine does not tell.
    power_saving
        What saves power at the cost of speed, such as a governor of the kernel's; None: nothing known.
    busy_fraction, busy_during_fraction
        How busy the processor was with other work before, and during the measurement; None where it
        can't tell.
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
    busy_fraction: float | None
    busy_during_fraction: float | None
    versions: dict[str, str]
    timestamp: str


@dataclass(frozen=True, slots=True)
class Report:
    """The content of ``report.json``.

    Attributes
    ----------
    baseline
        Index of the row that the others are compared with; None when there is none.
    rows, raw
        Row by row, in the same order.
    """

    verdict: Verdict
    answer: Answer
    overfly: str
    quick: bool
    bundle: BundleFacts
    environment: Environment
    classes: tuple[str, ...]
    baseline: int | None
    rows: tuple[Row, ...]
    images: Judged
    raw: tuple[Measurements, ...]

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together."""
        n_images = len(self.images.names)
        if len(self.raw) != len(self.rows) or len(self.images.truth) != n_images:
            raise ValueError("rows and raw, or the images' names and truth, are not of the same length")
        if any(len(raw.predictions) not in {0, n_images} for raw in self.raw):
            raise ValueError("a row has predictions for some of the images only")
        for row, raw in zip(self.rows, self.raw, strict=True):
            if row.status == OK and not raw.is_complete:
                raise ValueError(f"the row {row.name} lacks some of what was measured of it")
        if self.baseline is not None and not 0 <= self.baseline < len(self.rows):
            raise ValueError(f"the baseline {self.baseline} is no row")
        indices = {*self.images.truth, *(p for raw in self.raw for p in raw.predictions)}
        if indices and not (min(indices) >= 0 and max(indices) < len(self.classes)):
            raise ValueError("a class index is out of range")

    @property
    def compared_row(self) -> int | None:
        """Index of the row shown beside the baseline: the first int8 of the bundle, else its last variant."""
        others = [i for i, row in enumerate(self.rows) if row.is_deployable and i != self.baseline]
        int8 = [i for i in others if self.rows[i].variant == "int8"]
        return next(iter(int8 or others[-1:]), None)
