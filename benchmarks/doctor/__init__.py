"""A benchmark of the doctor: programs with one mistake, and correct programs."""
