"""Trains one network, or a stack of many at once."""
