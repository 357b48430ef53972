"""What every page and terminal output shares: style, templates, numbers."""
