"""Mean-field theory: predict a network at initialisation, without torch."""
