"""What is observed while a training runs."""
