"""Cures that were tried: a sick run, trained again with each remedy that its findings propose."""
