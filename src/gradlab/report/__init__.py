"""From frames to figures to a page. Never imports torch."""
