"""The mistakes, one a file: the broken form, the fixed form, and what is measured of both."""
