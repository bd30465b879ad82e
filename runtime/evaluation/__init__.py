"""What answers are worth: metrics, intervals, parity, the check, and what to deploy."""
