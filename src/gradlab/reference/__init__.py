"""Backpropagation by hand: NumPy alone, from the equations, sharing no code with the rest."""
