"""Locate the operation that made a number inf or NaN: in a step's forward pass, backward pass or update."""
