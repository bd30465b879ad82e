"""The legend of every report: how the figures are measured. ``docs/measuring.md`` has more."""

from overfly.benchmarks.measurement.probe import N_PROBE_IMAGES
from overfly.benchmarks.models.loaders import BATCH
from overfly.benchmarks.results.conclusions import MAX_HALF_WIDTH
from overfly.benchmarks.results.row_records import SIGNIFICANCE
from overfly.benchmarks.results.statistics import MIN_SAMPLES_P99
from overfly.runtime.evaluation.calibration import N_BINS
from overfly.runtime.evaluation.intervals import N_RESAMPLES

# A paragraph for each entry: its name, a colon, and what it means.
_PARAGRAPHS = f"""
Images: all models get the same images, as uint8 pixels that are decoded and resized once before the measurement.

Accuracy: each metric is over all evaluated images, with a 95% percentile interval from {N_RESAMPLES:,} seeded
bootstrap resamples. Differences to the baseline are in percentage points and in images; ~
marks a difference that is not significant by McNemar's exact test (p of {SIGNIFICANCE} or more).

Probabilities: NLL is the mean negative log likelihood of the true class, in nats. Brier is the mean squared error of
all probabilities, from 0 to 2. ECE is the expected calibration error: the mean distance between the confidence and the
accuracy of {N_BINS} bins with the same number of images. By chance, it is above 0 also if all probabilities are right:
"ECE if calibrated" is what it would then be for these images, computed from {N_RESAMPLES:,} draws of the outcomes.

Latency: the model alone, from pixels to logits: one image at a time, a different image each time, measured with a
monotonic clock after a warm-up, without garbage collection. OpenVINO uses its latency hint. There is no p99 below
{MIN_SAMPLES_P99:,} samples.

Throughput: the model alone, many images at once, in images per second of wall clock. OpenVINO uses its throughput
hint and as many parallel requests as the device asks for; PyTorch and ONNX Runtime use batches of {BATCH}.

File to label: latency and throughput from the image file to its label: reading, decoding, resizing, inference and
argmax. For the throughput, threads decode while the device infers. The files are in the system's cache.

Speed: how many times as fast as the baseline in the same round: the center of all rounds, with a 95% interval; ~ if the
interval contains 1, or if there are too few rounds for one.

Order: each round measures every row, so that a machine that slows down affects all rows alike. A full bench adds rounds
until the half-width of each interval is at most {MAX_HALF_WIDTH:.0%}, or until a time limit. Rounds in which the
latencies of a row spread more than usual are set aside and replaced.

Computed in: the precision that the compiled model reports, whatever the precision of its weights; in OpenVINO's int8
that of the layers that are not quantized. fp32 asks for f32.

Threads: each library's default, with the default affinity; - if the library does not report the number. compiled:
torch.compile for fixed batches of 1 and of {BATCH}.

Load and memory: measured in a separate process for each row: the time to load without a cache and with a filled
cache, the first inference, and the peak memory after {N_PROBE_IMAGES} inferences, including the interpreter and
libraries.
"""


def _entry(paragraph: str) -> tuple[str, str]:
    """Return the name and the text of a paragraph, on one line."""
    name, _, text = paragraph.partition(": ")
    return name, " ".join(text.split())


LEGEND: tuple[tuple[str, str], ...] = tuple(map(_entry, _PARAGRAPHS.strip().split("\n\n")))
