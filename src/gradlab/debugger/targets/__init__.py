"""What can be examined: a script, a function, live objects."""
