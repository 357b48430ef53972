"""Settings of a run: read, checked and composed with Hydra."""
