"""Which rounds are set aside."""

import pytest

from overfly.benchmarks.results.rounds import disturbed_rounds
from overfly.benchmarks.results.row_records import Measurements


def row_of(*spreads, ms=10.0):
    """Return a row whose latencies have these spreads, one for each round."""
    return Measurements(
        latency_rounds_ms=tuple((ms * (1 - s / 2),) * 3 + (ms,) * 5 + (ms * (1 + s / 2),) * 3 for s in spreads)
    )


@pytest.mark.parametrize(
    ("spreads", "disturbed"),
    [
        ((0.01, 0.01, 0.9), ()),  # ninety times the usual, but smaller than the latency itself
        ((0.01, 0.01, 1.1), (2,)),
        ((0.15, 1.3, 0.15, 0.15), (1,)),
        ((0.15, 1.1, 0.15, 0.15), ()),  # not eight times the usual
        ((0.5, 1.2, 0.5, 1.3), ()),  # this machine is never quiet
    ],
)
def test_a_round_is_disturbed_if_latencies_spread_more_than_usual(spreads, disturbed):
    assert disturbed_rounds([row_of(*spreads)]) == disturbed


def test_one_row_that_was_disturbed_is_enough():
    rows = [row_of(0.01, 0.01, 0.01, 1.5), row_of(1.4, 0.02, 0.02, 0.02, ms=1.0)]
    assert disturbed_rounds(rows) == (0, 3)


def test_a_round_that_is_slow_but_even_counts():
    slow = Measurements(latency_rounds_ms=((1.0, 1.0, 1.01),) * 3 + ((5.0, 5.0, 5.05),))
    assert disturbed_rounds([slow]) == ()
