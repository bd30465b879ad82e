"""Evaluation: metrics, intervals, parity, the check of golden images, and the recommendation."""
