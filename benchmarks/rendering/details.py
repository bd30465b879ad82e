"""What every view shows besides the results table: the other figures of the rows, short names, and the machine."""

from collections.abc import Iterator

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.rendering.columns import METRIC_COLUMNS, Column
from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.backends import BACKENDS
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Row


def _interval(name: str, column: Column) -> Column:
    """Return the 95% interval of a metric, in the format of its column."""
    return Column(
        f"{column.title}, 95% interval",
        f"quality.{name}.ci95",
        lambda bounds: number_format.interval(bounds, column.format),
    )


# The figures that the results table leaves out.
DETAILS = (
    *(_interval(name, column) for name, column in METRIC_COLUMNS.items()),
    Column("ECE if calibrated", "quality.ece_if_calibrated", formatting.estimate),
    Column("points vs baseline", "difference.accuracy_pp", "{:+.2f}".format),
    Column("McNemar p", "difference.mcnemar_p", number_format.p_value),
    Column("agreement %", "difference.agreement", number_format.percent),
    Column("p90 ms", "speed.latency_ms.p90", number_format.milliseconds),
    Column("p99 ms", "speed.latency_ms.p99", number_format.milliseconds),
    Column("mean ms", "speed.latency_ms.mean", number_format.milliseconds),
    Column("sd ms", "speed.latency_ms.std", number_format.milliseconds),
    Column("samples", "speed.latency_ms.n", "{:,}".format),
    Column("speed by latency", "difference.latency_speedup", formatting.speedup_interval),
    Column("speed by throughput", "difference.throughput_speedup", formatting.speedup_interval),
    Column("file to label, p90 ms", "speed.file_latency_ms.p90", number_format.milliseconds),
    Column("file to label, images/s", "speed.file_throughput_ips", number_format.rate),
    Column("first inference ms", "probe.first_inference_ms", number_format.milliseconds),
    Column("load ms, cold", "probe.load_ms.cold", number_format.milliseconds),
    Column("load ms, cached", "probe.load_ms.cached", number_format.milliseconds),
    Column("peak memory MiB", "probe.peak_rss_bytes", number_format.mebibytes),
    Column("CPU threads", "execution.n_threads", str),
    Column("requested precision", "execution.requested_precision", str),
    Column("device", "execution.device_name", str),
)


# The baseline has a color of its own next to the compared row, also if both are of one bundle.
_N_BUNDLE_COLORS = 7
_BASELINE_COLOR = 7
_N_COLORS = 10


def color(report: Report, index: int) -> int:
    """Return the number of a row's color: one for each row, or with several bundles one for each bundle."""
    if report.has_several_bundles:
        return bundle_color(report.bundle_of(report.rows[index]))
    return index % _N_COLORS


def bundle_color(number: int) -> int:
    """Return the number of the color of a bundle, one of several."""
    return number % _N_BUNDLE_COLORS


def pair_color(report: Report, index: int) -> int:
    """Return the number of a row's color where only the baseline and the compared row are shown."""
    return _BASELINE_COLOR if report.has_several_bundles and index == report.baseline else color(report, index)


def shown_rows(report: Report) -> list[int]:
    """Return the indices of the rows that the charts of speed show.

    These are all that were measured. With several bundles these are too many: only those that can be deployed, and the
    baseline.
    """
    return [
        i
        for i, row in enumerate(report.rows)
        if row.measurements is not None
        and (not report.has_several_bundles or row.is_deployable or i == report.baseline)
    ]


def short_name(report: Report, row: Row) -> str:
    """Return the shortest name that tells the rows of a report apart."""
    return f"{row.spec.bundle} {name_in_bundle(report, row)}".lstrip()


def name_in_bundle(report: Report, row: Row) -> str:
    """Return the shortest name that tells the rows of a bundle apart."""
    facts = BACKENDS[row.spec.backend]
    same = {other.execution.device for other in report.rows if other.spec.backend == row.spec.backend}
    variant = "" if facts.short_title and row.spec.variant == "fp32" else row.spec.variant
    device = row.execution.device if facts.has_devices and len(same) > 1 else ""
    return " ".join(part for part in (facts.short_title, variant, row.spec.configuration, device) if part)


def machine_facts(report: Report) -> list[tuple[str, str]]:
    """Return the environment and the origin of the report, each with its name."""
    machine = report.environment
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return [
        ("host", machine.host),
        ("processor", f"{machine.cpu}, {machine.n_cores} usable logical cores"),
        ("affinity", "unknown" if machine.affinity is None else f"cores {', '.join(map(str, machine.affinity))}"),
        ("memory", number_format.optional(machine.memory_bytes, lambda n_bytes: f"{n_bytes / 2**30:.1f} GiB")),
        ("system", machine.system),
        ("power", machine.power_source or "unknown"),
        ("power saving", machine.power_saving or "none known"),
        ("load before", _load(machine.load_before)),
        ("load during", _load(machine.load_during)),
        ("versions", versions),
        ("time", machine.timestamp),
        *_bundle_facts(report),
        ("images", f"{formatting.images_sentence(report)} SHA-256 {report.images.sha256[:16]}."),
        ("mode", "quick" if report.quick else "full"),
    ]


def _bundle_facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the origin and the input of each bundle."""
    for bundle in report.bundles:
        size, manifest = bundle.image_size, f"manifest {bundle.manifest_sha256[:16]}"
        if report.has_several_bundles:
            yield "bundle", f"{bundle.name}: {bundle.model}, {size} x {size} pixels, {manifest}"
        else:
            yield "bundle", f"{bundle.name}, {manifest}"
            yield "input", f"{size} x {size} pixels"


def _load(share: float | None) -> str:
    """Say how much of the processor other programs used."""
    return "unknown" if share is None else f"other programs used {share:.0%} of the processor"
