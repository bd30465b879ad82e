"""Timing: each figure to the digit, with a clock and models of known speed and errors."""

import pytest

from overfly.benchmarks.measurement.timing import measure


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
    assert row.file_latency_rounds_ms == ((11.0,) * 3,) * 2
    # The clock of a test adds up what threads do side by side: each image costs 3 + 5 milliseconds.
    assert [s.n_images / s.seconds for s in row.file_throughput_rounds] == pytest.approx([125, 125])


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
    # A warm-up and four samples of the model, a warm-up and three from files; in both rounds.
    assert "".join(turns) == (5 * "a" + 5 * "b" + 4 * "a" + 4 * "b") * 2
