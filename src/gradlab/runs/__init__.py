"""Runs and sweeps, from settings to a verdict."""
