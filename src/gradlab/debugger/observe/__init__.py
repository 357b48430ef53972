"""Observes a training while it runs, and collects its trace."""
