"""What a run leaves on disk and in W&B, and how it is read back."""
