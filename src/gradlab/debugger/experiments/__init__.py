"""Experiments that confirm a suspected mistake."""
