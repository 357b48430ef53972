"""Isolation of the examined program."""
