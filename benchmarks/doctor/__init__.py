"""An examination of the doctor: programs with one mistake, and programs without."""
