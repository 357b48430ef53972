"""What mean-field theory says of a network, without training it. NumPy and pandas alone."""
