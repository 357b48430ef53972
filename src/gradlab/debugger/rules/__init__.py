"""The rules: pure functions, a trace in, findings out. Each is silent unless it is sure."""
