"""Data sets for training: real data that come with scikit-learn, and simulated tasks."""
