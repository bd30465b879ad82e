"""How the figures come about, in sentences: the legend of every report. ``docs/measuring.md`` says more."""

METHOD: tuple[tuple[str, str], ...] = (
    (
        "Images",
        "every model gets the same uint8 pixels, decoded and resized once, beforehand.",
    ),
    (
        "Accuracy",
        (
            "top-1 over all judged images, macro F1 and Cohen's kappa, each with its 95% percentile interval from "
            "2,000 seeded bootstrap resamples. Differences are to the baseline, in points and in images; ~ marks "
            "those that McNemar's exact test does not find significant (p of 0.05 or more)."
        ),
    ),
    (
        "Latency",
        (
            "the model alone, one image at a time, a different real image each time, from pixels to logits, by a "
            "monotonic clock, after a warm-up, garbage collection kept out; OpenVINO with its latency hint. "
            "No p99 below 1,000 samples."
        ),
    ),
    (
        "Throughput",
        (
            "the same images as a stream, by wall clock; OpenVINO with its throughput hint and as many images in "
            "flight as the device wants, PyTorch and ONNX Runtime in batches of 16."
        ),
    ),
    (
        "File to label",
        (
            "both once more from the picture's file to the label: reading, decoding, resizing, inference, argmax; in "
            "the stream with decoding threads beside the inference. The files are in the system's cache."
        ),
    ),
    (
        "Speed",
        (
            "times as fast as the baseline in the same round: the median over the rounds, and their range; ~ where "
            "not all rounds agree on who is faster."
        ),
    ),
    (
        "Order",
        "all rows take turns in every round, so that a machine that slows down hurts all alike.",
    ),
    (
        "Computes in",
        "the precision that the compiled model reports, whatever its weights are stored in; fp32 asks for f32.",
    ),
    (
        "Threads",
        "each library's default, affinity left alone. compiled: torch.compile for fixed batches of 1 and of 16.",
    ),
    (
        "Load and memory",
        (
            "in a process of its own for each row: loading without a cache and with a filled one, the first "
            "inference, and the peak memory after eight inferences, interpreter and libraries included."
        ),
    ),
)
