"""The base of every page and figure: content, HTML template, figure style, numbers as text."""
