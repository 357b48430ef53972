"""Backpropagation told to a person: one weight's chain rule, and the atlas of functions."""
