"""Timing: each figure to the digit, with a clock and models of known speed and errors."""

from dataclasses import replace

import numpy as np
import pytest

from overfly.benchmarks.measurement import timing


def measure(models, images, plan, **options):
    """Measure models that all infer the same images."""
    return timing.measure(models, [images] * len(models), plan, **options)


def test_known_speeds_and_errors_come_out_to_the_digit(clock, fake, images, plan):
    right = fake(latency_ms=8, stream_ms=5)
    wrong = fake(latency_ms=2, stream_ms=1.25, wrong={3: 0, 8: 1})
    first, second = measure([right, wrong], images(10), plan, clock=clock)
    assert first.predictions == (0, 1) * 5
    assert [i for i in range(10) if second.predictions[i] != first.predictions[i]] == [3, 8]
    assert first.latency_rounds_ms == ((8.0,) * 4,) * 2
    assert second.latency_rounds_ms == ((2.0,) * 4,) * 2
    rates = [[s.n_images / s.seconds for s in row.throughput_rounds] for row in (first, second)]
    assert rates == [pytest.approx([200, 200]), pytest.approx([800, 800])]


def test_from_file_to_label_the_decoding_counts_too(clock, fake, images, plan):
    (row,) = measure([fake(latency_ms=8, stream_ms=5)], images(10), plan, clock=clock)
    # Three milliseconds to decode, eight to infer.
    assert row.file_latency_rounds_ms == ((11.0,) * 3,)
    # The clock of a test adds up what threads do side by side: each image costs 3 + 5 milliseconds.
    assert [s.n_images / s.seconds for s in row.file_throughput_rounds] == pytest.approx([125])


def test_a_slow_row_stops_early_but_not_below_its_floor(clock, fake, images, plan):
    (row,) = measure([fake(latency_ms=700, stream_ms=1)], images(4), plan, clock=clock)
    assert [len(samples) for samples in row.latency_rounds_ms] == [2, 2]


def test_a_row_that_fails_keeps_its_reason_and_the_others_continue(clock, fake, images, plan):
    rows = [fake(latency_ms=1, stream_ms=1, breaks_at=3), fake(latency_ms=1, stream_ms=1)]
    first, second = measure(rows, images(4), plan, clock=clock)
    assert first == "failed while it was measured: out of memory"
    assert second.predictions == (0, 1, 0, 1)


def test_models_are_measured_in_turns(clock, fake, images, plan):
    turns = []
    rows = [fake(latency_ms=1, stream_ms=1), fake(latency_ms=1, stream_ms=1)]
    for name, row in zip("ab", rows, strict=True):
        infer = row.infer
        row.infer = lambda image, infer=infer, name=name: (turns.append(name), infer(image))[1]
    measure(rows, images(4), plan, clock=clock)
    # A warm-up and four samples of the model, in reverse order in the second round; a warm-up and three from files.
    assert "".join(turns) == 5 * "a" + 5 * "b" + 5 * "b" + 5 * "a" + 4 * "a" + 4 * "b"


def settled_after(n):
    """Return a function that is content when it is asked the n-th time, and the numbers of rounds it was asked with."""
    asked = []

    def is_settled(results):
        asked.append(len(results[0].latency_rounds_ms))
        return len(asked) == n

    return is_settled, asked


def test_blocks_follow_until_it_is_settled_and_each_image_is_evaluated_once(clock, fake, images, plan):
    is_settled, asked = settled_after(3)
    long = replace(plan, n_rounds=3, limit_s=60.0)
    (row,) = measure([fake(latency_ms=8, stream_ms=5)], images(10), long, clock=clock, is_settled=is_settled)
    assert asked == [4, 6, 8]
    assert len(row.latency_rounds_ms) == len(row.throughput_rounds) == 8
    assert len(row.file_latency_rounds_ms) == len(row.file_throughput_rounds) == 4
    assert row.predictions == (0, 1) * 5


def test_no_block_begins_that_would_end_after_the_limit(clock, fake, images, plan):
    for limit_s in (0.0, 0.5, 1.0):
        is_settled, asked = settled_after(99)
        limited = replace(plan, limit_s=limit_s)
        start = clock()
        (row,) = measure([fake(latency_ms=8, stream_ms=5)], images(10), limited, clock=clock, is_settled=is_settled)
        seconds = (clock() - start) / 1e9
        n_blocks = len(row.file_latency_rounds_ms)
        assert n_blocks == len(asked)
        assert seconds * (n_blocks + 1) / n_blocks > limit_s
        assert seconds <= limit_s or n_blocks == 1


def test_a_disturbed_round_is_set_aside_for_all_rows_and_replaced(clock, fake, images, plan):
    def latency_ms(n):
        # The second round begins with inference 6, a warm-up; something else runs during two of its four samples.
        return 80 if n in (8, 9) else 8

    is_settled, asked = settled_after(1)
    rows = [fake(latency_ms=latency_ms, stream_ms=5), fake(latency_ms=8, stream_ms=5)]
    three = replace(plan, n_rounds=3, rounds_per_block=3, limit_s=60.0)
    found = measure(rows, images(10), three, clock=clock, is_settled=is_settled)
    assert asked == [6]
    assert [row.rounds_set_aside for row in found] == [(1,), (1,)]
    assert found[0].latency_rounds_ms[1] == (8.0, 80.0, 80.0, 8.0)
    assert found[0].counted.latency_rounds_ms == ((8.0,) * 4,) * 5
    assert [len(rounds) for rounds in (found[1].latency_rounds_ms, found[1].counted.latency_rounds_ms)] == [6, 5]
    assert found[0].counted.file_latency_rounds_ms == found[0].file_latency_rounds_ms


def test_each_model_infers_the_images_that_it_takes(clock, fake, plan):
    def source(size):
        pixels = np.full((4, size, size, 3), np.arange(4, dtype=np.uint8)[:, None, None, None])
        return timing.ImageSource(pixels, lambda index: pixels[index])

    sizes = []
    models = [fake(latency_ms=1, stream_ms=1) for _ in "ab"]
    for model in models:
        infer = model.infer
        model.infer = lambda image, infer=infer: (sizes.append(image.shape[1]), infer(image))[1]
    first, second = timing.measure(models, [source(2), source(5)], plan, clock=clock)
    assert first.predictions == second.predictions == (0, 1, 0, 1)
    assert sizes == [*[2] * 5, *[5] * 5, *[5] * 5, *[2] * 5, *[2] * 4, *[5] * 4]
