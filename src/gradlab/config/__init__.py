"""Compose, check and type the settings of a run."""
