"""Compares analytic gradients with finite differences, and locates the first wrong layer."""
