"""Floor 3: what the trip cost: measuring, statistics, the report, the paper's tables."""
