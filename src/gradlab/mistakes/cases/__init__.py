"""The mistakes, one in each file: the broken form, the fixed form, and the measured symptom."""
