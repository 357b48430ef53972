"""The sandbox of the examined program."""
