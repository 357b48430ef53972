"""Destinations of recorded rows."""
