"""The report: ``report.json``, which holds all that was measured, and the two views made from it."""

from dataclasses import dataclass
from pathlib import Path

from overfly.benchmarks.figures import OK, Raw, Row
from overfly.runtime.documents import read_document, write_document
from overfly.runtime.files import write_atomically

REPORT_SCHEMA = "overfly.report/2"

REPORT_JSON = "report.json"
REPORT_MARKDOWN = "report.md"
REPORT_HTML = "report.html"

TEST_PART = "test part of the run"
ALL_IMAGES = "all images of the data folder"


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
    raw: tuple[Raw, ...]

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
    def contender(self) -> int | None:
        """Index of the row shown beside the baseline: the first int8 of the bundle, else its last variant."""
        others = [i for i, row in enumerate(self.rows) if row.is_deployable and i != self.baseline]
        int8 = [i for i in others if self.rows[i].variant == "int8"]
        return next(iter(int8 or others[-1:]), None)


def write_report(folder: Path, report: Report) -> None:
    """Write ``report.json``, ``report.md`` and ``report.html`` into an existing folder.

    Raises
    ------
    MissingExtraError
        When jinja2, which makes the HTML, is not installed.
    """
    # Here, as both import this module.
    from overfly.benchmarks.html import report_html
    from overfly.benchmarks.markdown import report_markdown

    write_document(folder / REPORT_JSON, report, schema=REPORT_SCHEMA)
    for name, text in ((REPORT_MARKDOWN, report_markdown(report)), (REPORT_HTML, report_html(report))):
        # A file's name need not be UTF-8: what is not is shown by its number.
        write_atomically(folder / name, text.encode(errors="backslashreplace"))


def read_report(path: Path) -> Report:
    """Read a ``report.json``, or the one in a report folder.

    Raises
    ------
    DocumentError
        When it is missing or not valid.
    """
    return read_document(path / REPORT_JSON if path.is_dir() else path, Report, schema=REPORT_SCHEMA)
