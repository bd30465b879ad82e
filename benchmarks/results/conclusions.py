"""What the rows of a bench say when they are taken together: the comparisons, and what to deploy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from overfly.benchmarks.results.recommendation import recommend
from overfly.benchmarks.results.records import Recommendation
from overfly.benchmarks.results.row_records import Ratio, Row
from overfly.benchmarks.results.rows import choose_baseline, compare_rows
from overfly.benchmarks.results.statistics import Labels

# Half the width of a ratio's interval, as a fraction of the ratio. A difference of a tenth is then clear.
MAX_HALF_WIDTH = 0.05


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What a report says about its rows.

    Attributes
    ----------
    rows
        All rows, with their differences to the baseline.
    baseline
        Index of the baseline; None if there is none.
    recommendation
        What to deploy.
    """

    rows: tuple[Row, ...]
    baseline: int | None
    recommendation: Recommendation

    def ratios(self) -> Iterator[tuple[str, Ratio]]:
        """Yield each ratio of speeds that the report claims, with its name.

        These are the speeds of each row against the baseline, and of the recommended rows against the next best.
        """
        for row in self.rows:
            if row.difference is not None:
                yield f"speed of {row.name} by latency", row.difference.latency_speedup
                yield f"speed of {row.name} by throughput", row.difference.throughput_speedup
        best = self.recommendation
        for lead, by in ((best.latency_lead, "latency"), (best.throughput_lead, "throughput")):
            if lead is not None:
                yield f"speed of the recommended row against {lead.next_best} by {by}", lead.ratio

    def are_certain(self) -> bool:
        """Return whether each ratio has an interval, with a half-width of at most `MAX_HALF_WIDTH`."""
        half_widths = [ratio.half_width for _, ratio in self.ratios()]
        return all(half_width is not None and half_width <= MAX_HALF_WIDTH for half_width in half_widths)


def conclude(rows: Sequence[Row], truth: Labels, max_drop_pp: float | None) -> Conclusions:
    """Compare the rows with the baseline, and recommend what to deploy.

    Parameters
    ----------
    rows
        All rows, not yet compared.
    truth
        The true class indices, int64 of shape ``[N]``.
    max_drop_pp
        How many percentage points of accuracy a recommended row may lose; None allows a loss that is not significant.
    """
    baseline = choose_baseline(rows)
    compared = compare_rows(rows, truth, baseline)
    return Conclusions(tuple(compared), baseline, recommend(compared, baseline, max_drop_pp))
