"""The doctor: runs a few steps of a user's training, observes them, and reports mistakes."""
