"""Turn the frames of runs into figures, tables and a page. Never imports torch."""
