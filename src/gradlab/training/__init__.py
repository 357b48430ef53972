"""Training: one loop for one network or a stack of many."""
