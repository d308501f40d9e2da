"""The label side of a benchmark folder: written, checked, counted."""
