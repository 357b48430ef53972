"""Networks, initialisations and losses, as plain modules and functions."""
