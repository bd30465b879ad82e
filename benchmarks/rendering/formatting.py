"""Comparisons and sentences of a report as text, the same in all views."""

from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK, Difference, Estimate, Latency, Quality, Ratio, Speed

NOT_SIGNIFICANT = "~"


def image_difference(difference: Difference) -> str:
    """Return how many more images than the baseline are right, such as ``-2 ~``: ``~`` if it is not significant."""
    return _marked(f"{difference.images:+d}", is_significant=difference.is_significant) if difference.images else "0"


def image_difference_note(difference: Difference) -> str:
    """Return the same with its unit, such as ``-2 images ~``."""
    if difference.images == 0:
        return "same number right"
    return _marked(number_format.images(difference.images, "+d"), is_significant=difference.is_significant)


def speedup(ratio: Ratio) -> str:
    """Return a ratio of speeds, such as ``14.2x``, with ``~`` if it is not significant."""
    return _marked(f"{number_format.factor(ratio.value)}x", is_significant=ratio.is_significant)


def speedup_note(ratio: Ratio) -> str:
    """Return a ratio of speeds as a phrase, such as ``14.2x as fast``."""
    return _marked(f"{number_format.factor(ratio.value)}x as fast", is_significant=ratio.is_significant)


def speedup_interval(ratio: Ratio) -> str:
    """Return a ratio of speeds with its interval, such as ``14.2x (13.9 to 14.4)``."""
    interval = "" if ratio.ci95 is None else f" ({number_format.interval(ratio.ci95, number_format.factor)})"
    return f"{speedup(ratio)}{interval}"


def estimate(of: Estimate) -> str:
    """Return a metric with its interval, such as ``0.021 (0.012 to 0.034)``."""
    return f"{number_format.decimal(of.value)} ({number_format.interval(of.ci95, number_format.decimal)})"


def _marked(text: str, *, is_significant: bool) -> str:
    """Return a text with a mark if what it says is not significant."""
    return text if is_significant else f"{text} {NOT_SIGNIFICANT}"


def title(report: Report) -> str:
    """Return the names of the measured bundles."""
    return ", ".join(bundle.name for bundle in report.bundles)


def networks(report: Report) -> str:
    """Return the network and the input of each bundle; with several bundles, after its name."""
    several = report.has_several_bundles
    return ", ".join(
        f"{f'{bundle.name}: ' if several else ''}{bundle.model} at {bundle.image_size} x {bundle.image_size}"
        for bundle in report.bundles
    )


def baseline_and_images(report: Report) -> str:
    """Say which images were evaluated; with several bundles, first which row is the baseline."""
    if not report.has_several_bundles or report.baseline is None:
        return images_sentence(report)
    baseline = f"Baseline: {report.rows[report.baseline].name}, the most accurate bundle in fp32."
    return f"{baseline} {images_sentence(report)}"


def images_sentence(report: Report) -> str:
    """Say which images were evaluated."""
    images = report.images
    if len(images.names) == images.n_available:
        return f"Evaluated: {images.n_available} images ({images.source})."
    part = f"{len(images.names)} of {images.n_available} images"
    return f"Evaluated: {part} ({images.source}), drawn evenly from the classes."


def calibration_sentence(report: Report) -> str:
    """Say how far confidence and accuracy are apart, in the baseline and in the row that is shown next to it."""
    rows = [report.rows[i] for i in (report.baseline, report.compared_row) if i is not None]
    found = [(row.name, row.quality) for row in rows if row.quality is not None]
    if not found:
        return ""
    texts = [
        f"{name} {number_format.decimal(quality.ece.value)} "
        f"({number_format.decimal(quality.ece_if_calibrated.value)} by chance alone)"
        for name, quality in found
    ]
    return f"Expected calibration error: {', '.join(texts)}."


def validity_sentence(report: Report) -> str:
    """Say whether the figures can be relied on."""
    if report.validity.valid:
        return f"VALID: all {len(report.validity.passed)} checks of the measurement passed."
    n = len(report.validity.reasons)
    return f"INVALID for {n} {'reason' if n == 1 else 'reasons'}: the figures are only a rough estimate."


def validity_lines(report: Report) -> list[tuple[str, str]]:
    """Return what was checked and observed, each with its kind: ``failed``, ``passed`` or ``observed``."""
    validity = report.validity
    return [
        *(("failed", f"{reason.what}; {reason.remedy}") for reason in validity.reasons),
        *(("passed", text) for text in validity.passed),
        *(("observed", text) for text in validity.observations),
    ]


def recommendation_sentence(report: Report) -> str:
    """Return the recommendation; it is called provisional if the report is not valid."""
    sentence = report.recommendation.sentence
    return sentence if report.validity.valid else f"Provisional: {sentence}"


def failures(report: Report) -> list[str]:
    """Return a sentence for each row that failed."""
    return [f"{row.name} failed: {row.status}" for row in report.rows if row.status != OK]


def latency_text(latency: Latency) -> str:
    """Return latencies in words."""
    percentiles = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    texts = [f"{name} {number_format.milliseconds(ms)}" for name, ms in percentiles.items() if ms is not None]
    return f"{', '.join(texts)} ms; {latency.n:,} samples"


def accuracy_text(quality: Quality, speed: Speed) -> str:
    """Return a row's position in the scatter plot in words."""
    accuracy = quality.accuracy
    interval = number_format.interval(accuracy.ci95, number_format.percent)
    p50 = number_format.milliseconds(speed.latency_ms.p50)
    return f"{number_format.percent(accuracy.value)}% ({interval}%) at {p50} ms"
