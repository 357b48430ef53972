"""What is wrong with a run: frames in, findings out."""
