"""The rules that diagnose a run: frames in, findings out."""
