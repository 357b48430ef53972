"""Benchmark: which tools name the operation, line and step of the first non-finite value."""
