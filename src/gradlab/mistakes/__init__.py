"""A catalogue of common mistakes in training code: a broken form, a fixed form, a measurement."""
