"""Runs the examined program without side effects, and restores its state."""
