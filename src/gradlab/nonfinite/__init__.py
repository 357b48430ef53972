"""Locate the operation that made a number inf or NaN: in the loss, a gradient or an update."""
