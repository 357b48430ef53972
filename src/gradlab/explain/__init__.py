"""Explain backpropagation: the chain rule through one weight, and an atlas of functions."""
