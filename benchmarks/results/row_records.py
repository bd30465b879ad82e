"""The records of one row of a report: what was measured, the figures, and the raw measurements behind them."""

from dataclasses import dataclass, replace
from typing import TypeVar

from overfly.benchmarks.results.backends import BACKENDS, PYTORCH
from overfly.runtime.evaluation.recommendation import Deployment

T = TypeVar("T")

# The status of a row that was measured completely.
OK = "ok"

# The customary level of a statistical test.
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class RowSpec:
    """What a row measures.

    Attributes
    ----------
    backend
        A key of `BACKENDS`.
    variant
        ``fp32``, ``fp16`` or ``int8``.
    configuration
        How it differs from the plain row of the same backend and variant, such as ``compiled``; empty for the plain
        row.
    size_bytes
        Size of its files: graph and weights. None if they could not be made.
    bundle
        Name of its bundle, see `records.BundleFacts`. Empty if the report is of one bundle.
    """

    backend: str
    variant: str
    configuration: str
    size_bytes: int | None
    bundle: str = ""

    def __post_init__(self) -> None:
        """Check that the backend is known."""
        if self.backend not in BACKENDS:
            raise ValueError(f"the backend is {self.backend!r}, expected one of {', '.join(BACKENDS)}")

    @property
    def name(self) -> str:
        """The row's name in a table of one device, such as ``OpenVINO int8``, after its bundle if there are several."""
        parts = (self.bundle, BACKENDS[self.backend].title, self.variant, self.configuration)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and how a row is computed: as planned, and after loading as the loaded model reports it.

    Attributes
    ----------
    device, device_name
        OpenVINO's short name, such as ``GPU.0``, and the full name.
    requested_precision
        The precision that the device was asked to compute in; ``auto`` leaves the choice to it.
    execution_precision
        The precision that it computes in; None if the model could not be loaded.
    n_threads
        The number of CPU threads that compute one image. None on a GPU, and if the library does not report it.
    """

    device: str
    device_name: str
    requested_precision: str
    execution_precision: str | None = None
    n_threads: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of the evaluated images, and its 95% bootstrap interval (low, high)."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a row classifies: an estimate for each metric of `runtime.evaluation.metrics` and `.calibration`.

    Attributes
    ----------
    accuracy, f1_macro, kappa, nll, brier, ece
        See the functions of these names.
    ece_if_calibrated
        What the ECE would be if the probabilities were right, by chance alone: its mean, which is the bias of the ECE,
        and the range of 95% of the cases.
    """

    accuracy: Estimate
    f1_macro: Estimate
    kappa: Estimate
    nll: Estimate
    brier: Estimate
    ece: Estimate
    ece_if_calibrated: Estimate
    n_images: int


@dataclass(frozen=True, slots=True)
class Latency:
    """A summary of single-image latencies, in milliseconds.

    Attributes
    ----------
    p99
        None below 1,000 samples.
    std
        Sample standard deviation; None for a single sample.
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
class Speed:
    """How fast a row is.

    Attributes
    ----------
    latency_ms
        The model alone, one image at a time, from pixels to logits.
    throughput_ips
        The model alone, many images in flight or in batches; images per second of wall clock.
    file_latency_ms, file_throughput_ips
        The same from an image file to its label: decoding, resizing, inference.
    """

    latency_ms: Latency
    throughput_ips: float
    file_latency_ms: Latency
    file_throughput_ips: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as another row a row is, from rounds in which both were measured.

    Attributes
    ----------
    value
        The center of the ratios of all rounds, see `statistics.center`.
    ci95
        Its interval (low, high); None if there are too few rounds for one.
    """

    value: float
    ci95: tuple[float, float] | None

    @property
    def is_significant(self) -> bool:
        """Whether it is sure which of the two rows is faster."""
        return self.ci95 is not None and (self.ci95[0] > 1 or self.ci95[1] < 1)

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, as a fraction of the value; None without an interval."""
        return None if self.ci95 is None else (self.ci95[1] - self.ci95[0]) / 2 / self.value


@dataclass(frozen=True, slots=True)
class Difference:
    """How a row differs from the baseline.

    Attributes
    ----------
    accuracy_pp, images
        Its accuracy minus the baseline's, in percentage points and in images.
    mcnemar_p
        Two-sided p of McNemar's exact test for that difference.
    agreement
        Fraction of the images that both give the same class.
    latency_speedup, throughput_speedup
        How many times as fast as the baseline it is, by median latency and by throughput.
    """

    accuracy_pp: float
    images: int
    mcnemar_p: float
    agreement: float
    latency_speedup: Ratio
    throughput_speedup: Ratio

    @property
    def is_significant(self) -> bool:
        """Whether the difference in accuracy is significant at the level `SIGNIFICANCE`."""
        return self.mcnemar_p < SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """The time to load a model until it can infer, in milliseconds.

    Attributes
    ----------
    cold
        Without a model cache.
    cached
        With a filled cache; None if the row uses no cache.
    """

    cold: float
    cached: float | None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a separate process measured for a row.

    Attributes
    ----------
    load_ms
        The time to load the model.
    first_inference_ms
        The first inference after loading.
    peak_rss_bytes
        Peak memory after loading and a few inferences, including the interpreter and its libraries; None if the
        system does not report it.
    """

    load_ms: LoadTimes
    first_inference_ms: float
    peak_rss_bytes: int | None


@dataclass(frozen=True, slots=True)
class ThroughputSample:
    """How many images were processed in how many seconds of wall clock."""

    n_images: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """The raw measurements from which a row's figures are computed.

    Attributes
    ----------
    predictions
        The predicted class index of each evaluated image, in their order.
    logits
        The logits of each evaluated image, in the order of the classes, as `results.packed` writes them.
    latency_rounds_ms, throughput_rounds
        The latency samples and the throughput sample of each round: the model alone.
    file_latency_rounds_ms, file_throughput_rounds
        The same from file to label, of each block of rounds.
    rounds_set_aside
        Indices of the rounds of the model alone that no figure uses, see `results.rounds`; the same for all rows.
    """

    predictions: tuple[int, ...] = ()
    logits: tuple[str, ...] = ()
    latency_rounds_ms: tuple[tuple[float, ...], ...] = ()
    throughput_rounds: tuple[ThroughputSample, ...] = ()
    file_latency_rounds_ms: tuple[tuple[float, ...], ...] = ()
    file_throughput_rounds: tuple[ThroughputSample, ...] = ()
    rounds_set_aside: tuple[int, ...] = ()

    @property
    def counted(self) -> "Measurements":
        """The same without the rounds that are set aside."""

        def keep(rounds: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(of for i, of in enumerate(rounds) if i not in self.rounds_set_aside)

        return replace(
            self,
            latency_rounds_ms=keep(self.latency_rounds_ms),
            throughput_rounds=keep(self.throughput_rounds),
            rounds_set_aside=(),
        )

    @property
    def is_complete(self) -> bool:
        """Whether every figure can be computed: there are predictions, and samples in each round."""
        measured = (self.predictions, self.logits, self.latency_rounds_ms, self.throughput_rounds)
        files = (self.file_latency_rounds_ms, self.file_throughput_rounds)
        return all((*measured, *files, *self.latency_rounds_ms, *self.file_latency_rounds_ms))


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one device.

    Attributes
    ----------
    spec, execution
        What was measured, and how it was computed.
    status
        ``ok``, or a sentence that says why the row failed.
    quality, speed, measurements
        The figures, and the raw measurements that they are computed from; None if the row failed.
    difference
        The comparison with the baseline; None for the baseline, for a row that failed, and without a baseline.
    probe
        Load times and memory; None if they were not measured.
    """

    spec: RowSpec
    execution: Execution
    status: str
    quality: Quality | None = None
    speed: Speed | None = None
    difference: Difference | None = None
    probe: Probe | None = None
    measurements: Measurements | None = None

    def __post_init__(self) -> None:
        """Check that a row that is ``ok`` has all its figures."""
        complete = self.quality and self.speed and self.measurements and self.measurements.is_complete
        if self.status == OK and not complete:
            raise ValueError(f"the row {self.name} lacks some of its measurements")

    @property
    def name(self) -> str:
        """The row's name in tables, such as ``OpenVINO int8 CPU``."""
        device = self.execution.device if BACKENDS[self.spec.backend].has_devices else ""
        return f"{self.spec.name} {device}".rstrip()

    @property
    def is_deployable(self) -> bool:
        """Whether the row worked and ``overfly predict`` can run it: a variant of the bundle, as it is."""
        return self.status == OK and BACKENDS[self.spec.backend].is_deployable and not self.spec.configuration

    @property
    def is_eager(self) -> bool:
        """Whether this is PyTorch in eager mode, as most people run it."""
        return self.spec.backend == PYTORCH and not self.spec.configuration

    @property
    def place(self) -> str:
        """The variant and the device in words, such as ``int8 on CPU``, and its bundle if there are several."""
        of = f" of {self.spec.bundle}" if self.spec.bundle else ""
        return f"{self.spec.variant}{of} on {self.execution.device}"

    @property
    def deployment(self) -> Deployment:
        """The variant and the device, as a recommendation names them."""
        return Deployment(self.spec.variant, self.execution.device, self.execution.device_name)
