"""Benchmarks for developers; not part of the command line."""
