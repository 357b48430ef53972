"""Callbacks for training libraries."""
