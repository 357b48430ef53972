"""Observes a training while it runs, and records its events."""
