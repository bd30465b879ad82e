"""Which rounds of a bench count: those in which no row was disturbed. The rule is fixed before the measurement."""

from collections.abc import Sequence

import numpy as np

from overfly.benchmarks.results.row_records import Measurements

# The spread of a row in a round is the range of its middle 80% of latencies, divided by their median. A round is set
# aside if in any row it is more than this many times what is usual for that row, and more than this fraction.
_MAX_TIMES_USUAL = 8.0
_MIN_SPREAD = 1.0


def disturbed_rounds(rows: Sequence[Measurements]) -> tuple[int, ...]:
    """Return the indices of the rounds in which the latencies of a row, the model alone, spread more than usual.

    The rule looks at how much the latencies of one round differ from each other, and never at how fast they are. So it
    can't prefer rounds that favor a row. What is usual for a row is the median of its spreads in all rounds.

    Parameters
    ----------
    rows
        What was measured of each row, all in the same rounds.
    """
    disturbed: set[int] = set()
    for row in rows:
        spreads = np.array([_spread(samples) for samples in row.latency_rounds_ms])
        limit = max(_MIN_SPREAD, _MAX_TIMES_USUAL * float(np.median(spreads)))
        disturbed.update(np.flatnonzero(spreads > limit).tolist())
    return tuple(sorted(disturbed))


def _spread(samples: Sequence[float]) -> float:
    """Return the range of the middle 80% of samples, divided by their median."""
    p10, p50, p90 = np.percentile(samples, (10, 50, 90))
    return float((p90 - p10) / p50)
