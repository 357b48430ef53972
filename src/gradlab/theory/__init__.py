"""Mean-field theory: predict a network without training it. Needs only NumPy, SciPy and pandas."""
