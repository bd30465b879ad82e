"""The report as Markdown (GitHub's tables)."""

from collections.abc import Sequence

from overfly.benchmarks.rendering import formatting as wording
from overfly.benchmarks.rendering.legend import METHOD
from overfly.benchmarks.results.per_class import class_scores, confusion_of, disagreements
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Row
from overfly.runtime.evaluation.metrics import most_confused

_MAX_DIFFERENCES = 40
_N_CONFUSED = 10


def report_markdown(report: Report) -> str:
    """Return the report as Markdown, the verdict first."""
    sections = (
        [f"# {escape(report.bundle.name)}: what the trip cost"],
        _verdict(report),
        [f"**{escape(wording.answer_sentence(report))}**"],
        ["## Results", *_results(report), escape(wording.judged_sentence(report))],
        ["## Details", *_details(report)],
        _classes(report),
        _differences(report),
        ["## Machine", *_machine(report)],
        ["## Method", "\n".join(f"- **{escape(name)}**: {escape(text)}" for name, text in METHOD)],
    )
    return "\n\n".join(block for section in sections for block in section) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown and HTML take as it is."""
    plain = " ".join(text.split())
    for character in "\\`*_[]|<>&~#":
        plain = plain.replace(character, f"&#{ord(character)};" if character in "<>&|" else f"\\{character}")
    return plain


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, n_left: int = 1) -> str:
    """Return a Markdown table of texts, the first `n_left` columns to the left, the others to the right."""
    rule = ["---" if i < n_left else "---:" for i in range(len(header))]
    lines = [header, rule, *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(report: Report) -> list[str]:
    """Return the verdict, and its reasons as a list."""
    reasons = [f"- {escape(reason.what)}; {escape(reason.remedy)}" for reason in report.validity.reasons]
    return [f"**{escape(wording.verdict_sentence(report))}**", *(["\n".join(reasons)] if reasons else [])]


def _results(report: Report) -> list[str]:
    """Return the main table, and a line for each row that failed."""
    header = (
        "model", "computes in", "accuracy", "images vs base", "F1", "kappa", "p50 ms", "speed", "file to label ms",
        "images/s", "MiB",
    )  # fmt: skip
    rows = [
        (
            row.name,
            row.execution.execution_precision or wording.NONE,
            wording.percent(row.quality.accuracy.value if row.quality else None),
            wording.delta(row.difference),
            wording.ratio(row.quality.f1_macro.value if row.quality else None),
            wording.ratio(row.quality.kappa.value if row.quality else None),
            wording.p50(row.speed.latency_ms if row.speed else None),
            wording.times(row.difference.latency_speedup if row.difference else None),
            wording.p50(row.speed.file_latency_ms if row.speed else None),
            wording.count(row.speed.throughput_ips if row.speed else None),
            wording.megabytes(row.spec.size_bytes),
        )
        for row in report.rows
    ]
    failed = [f"{escape(name)} failed: {escape(status)}" for name, status in wording.failures(report)]
    return [table(header, rows, n_left=2), *failed]


def detail_cells(row: Row) -> list[tuple[str, str]]:
    """Return the figures of a row that the main table leaves out, each with its name and unit."""
    quality, speed, difference, probe = row.quality, row.speed, row.difference, row.probe
    latency, files = (speed.latency_ms, speed.file_latency_ms) if speed else (None, None)
    load = probe.load_ms if probe else None
    return [
        ("accuracy, 95% interval", wording.interval(quality.accuracy.ci95 if quality else None)),
        ("macro F1, 95% interval", wording.interval_of_ratio(quality.f1_macro.ci95 if quality else None)),
        ("kappa, 95% interval", wording.interval_of_ratio(quality.kappa.ci95 if quality else None)),
        ("points vs base", wording.NONE if difference is None else f"{difference.accuracy_pp:+.2f}"),
        ("McNemar p", wording.p_value(difference.mcnemar_p if difference else None)),
        ("agreement", wording.percent(difference.agreement if difference else None)),
        ("p90 ms", wording.milliseconds(None if latency is None else latency.p90)),
        ("p99 ms", wording.milliseconds(None if latency is None else latency.p99)),
        ("mean ms", wording.milliseconds(None if latency is None else latency.mean)),
        ("sd ms", wording.milliseconds(None if latency is None else latency.std)),
        ("samples", wording.NONE if latency is None else f"{latency.n:,}"),
        ("latency, speed", wording.times_range(difference.latency_speedup if difference else None)),
        ("throughput, speed", wording.times_range(difference.throughput_speedup if difference else None)),
        ("file to label, p50 ms", wording.p50(files)),
        ("file to label, p90 ms", wording.milliseconds(None if files is None else files.p90)),
        ("file to label, images/s", wording.count(speed.file_throughput_ips if speed else None)),
        ("first inference ms", wording.milliseconds(probe.first_inference_ms if probe else None)),
        ("load ms, cold", wording.milliseconds(None if load is None else load.cold)),
        ("load ms, cached", wording.milliseconds(None if load is None else load.cached)),
        ("peak memory MiB", wording.megabytes(probe.peak_rss_bytes if probe else None)),
        ("threads", "its own choice" if row.execution.n_threads is None else str(row.execution.n_threads)),
        ("asked for", row.execution.requested_precision),
        ("device", row.execution.device_name),
    ]


def _details(report: Report) -> list[str]:
    """Return the details, a line for each figure and a column for each row."""
    columns = [detail_cells(row) for row in report.rows]
    rows = [[column[0][0], *(cell for _, cell in column)] for column in zip(*columns, strict=True)]
    return [table(["", *(escape(row.name) for row in report.rows)], rows)] if rows else []


def _classes(report: Report) -> list[str]:
    """Return F1 by class, and the pairs of classes taken for each other most often."""
    names = [escape(report.rows[i].name) for i in (report.baseline, report.compared_row) if i is not None]
    if not names:
        return []
    rows = [
        [
            score.name,
            str(score.n_images),
            *(wording.ratio(f1) for f1 in (score.baseline, score.compared_row) if f1 is not None),
        ]
        for score in class_scores(report)
    ]
    return ["## F1 by class", table(["class", "images", *names], rows), *_confused(report)]


def _confused(report: Report) -> list[str]:
    """Return the most frequent errors of the contender, or of the baseline where it is alone."""
    index = report.baseline if report.compared_row is None else report.compared_row
    confusion = confusion_of(report, index)
    pairs = [] if confusion is None else most_confused(confusion, report.classes, n_pairs=_N_CONFUSED)
    if not pairs or index is None:
        return []
    rows = [(truth, taken_for, str(n)) for truth, taken_for, n in pairs]
    return [
        f"Most frequent errors of {escape(report.rows[index].name)}:",
        table(("truth", "taken for", "images"), rows, n_left=2),
    ]


def _differences(report: Report) -> list[str]:
    """Return the images with two answers."""
    found = disagreements(report)
    if report.baseline is None or report.compared_row is None:
        return []
    names = [escape(report.rows[i].name) for i in (report.baseline, report.compared_row)]
    heading = f"## Images where {names[0]} and {names[1]} differ"
    if not found:
        return [heading, "None."]
    rows = [(d.image, d.truth, d.baseline, d.compared_row, d.outcome) for d in found[:_MAX_DIFFERENCES]]
    more = [f"... and {len(found) - _MAX_DIFFERENCES} more in report.json."] if len(found) > _MAX_DIFFERENCES else []
    return [heading, table(("image", "truth", *names, "outcome"), rows, n_left=5), *more]


def machine_facts(report: Report) -> list[tuple[str, str]]:
    """Return the environment and the origin of the report, each with its name."""
    machine = report.environment
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return [
        ("host", machine.host),
        ("processor", f"{machine.cpu}, {machine.n_cores} logical cores to use"),
        ("affinity", "not known" if machine.affinity is None else f"cores {', '.join(map(str, machine.affinity))}"),
        ("memory", wording.NONE if machine.memory_bytes is None else f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("system", machine.system),
        ("power", machine.power_source or "not known"),
        ("power saving", machine.power_saving or "none known"),
        ("others before", _share(machine.load_before)),
        ("others during", _share(machine.load_during)),
        ("versions", versions),
        ("time", machine.timestamp),
        ("bundle", f"{report.bundle.name}, manifest {report.bundle.manifest_sha256[:16]}"),
        ("input", f"{report.bundle.image_size} x {report.bundle.image_size} pixels"),
        ("images", f"{wording.judged_sentence(report)} Contents {report.images.sha256[:16]}."),
        ("mode", "quick" if report.quick else "full"),
    ]


def _share(busy: float | None) -> str:
    """Say how much of the processor was used."""
    return "not known" if busy is None else f"{busy:.0%} of the processor"


def _machine(report: Report) -> list[str]:
    """Return the environment as a table."""
    return [table(("", ""), machine_facts(report), n_left=2)]
