"""What the networks are trained on: real data that comes with a package, and made-up tasks."""
