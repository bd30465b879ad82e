"""The legend of every report: how the figures are measured. ``docs/measuring.md`` has more."""

LEGEND: tuple[tuple[str, str], ...] = (
    ("Images", "all models get the same uint8 pixels, which are decoded and resized once before the measurement."),
    (
        "Accuracy",
        (
            "top-1 accuracy, macro F1 and Cohen's kappa over all evaluated images, each with a 95% percentile interval "
            "from 2,000 seeded bootstrap resamples. Differences to the baseline are in percentage points and in "
            "images; ~ marks a difference that is not significant by McNemar's exact test (p of 0.05 or more)."
        ),
    ),
    (
        "Latency",
        (
            "the model alone, from pixels to logits: one image at a time, a different image each time, measured with "
            "a monotonic clock after a warm-up, without garbage collection. OpenVINO uses its latency hint. "
            "There is no p99 below 1,000 samples."
        ),
    ),
    (
        "Throughput",
        (
            "the model alone, many images at once, in images per second of wall clock. OpenVINO uses its throughput "
            "hint and as many parallel requests as the device asks for; PyTorch and ONNX Runtime use batches of 16."
        ),
    ),
    (
        "File to label",
        (
            "latency and throughput from the image file to its label: reading, decoding, resizing, inference and "
            "argmax. For the throughput, threads decode while the device infers. The files are in the system's cache."
        ),
    ),
    (
        "Speed",
        (
            "how many times as fast as the baseline in the same round: the median and the range of all rounds; ~ if "
            "the rounds do not agree on which is faster."
        ),
    ),
    ("Order", "each round measures every row, so that a machine that slows down affects all rows alike."),
    (
        "Computed in",
        "the precision that the compiled model reports, whatever the precision of its weights. fp32 asks for f32.",
    ),
    (
        "Threads",
        (
            "each library's default, with the default affinity; - if the library does not report the number. "
            "compiled: torch.compile for fixed batches of 1 and of 16."
        ),
    ),
    (
        "Load and memory",
        (
            "measured in a separate process for each row: the time to load without a cache and with a filled cache, "
            "the first inference, and the peak memory after eight inferences, including the interpreter and libraries."
        ),
    ),
)
