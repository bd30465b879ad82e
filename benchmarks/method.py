"""How the figures come about, in sentences: the legend of every report. ``docs/measuring.md`` says more."""

METHOD: tuple[tuple[str, str], ...] = (
    (
        "Images",
        "decoded and resized once, beforehand; every model gets the same uint8 pixels. Decoding is in no figure.",
    ),
    (
        "Accuracy",
        (
            "top-1 over all judged images, with Wilson's 95% interval; macro F1 and Cohen's kappa beside it. "
            "Differences are to the baseline, in points and in images; ~ marks those that McNemar's exact test "
            "does not find significant (p of 0.05 or more)."
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
            "flight as the device wants, PyTorch in batches of 16."
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
        "PyTorch",
        "fp32 in eager mode on the CPU with its default number of threads.",
    ),
    (
        "Load and memory",
        (
            "in a process of its own for each row: loading without a model cache and with a filled one, the first "
            "inference, and the peak memory after eight inferences, interpreter and libraries included."
        ),
    ),
)
