"""What is studied: networks, initialisations, losses. Plain modules and functions."""
