"""Bundles: one zip file with all that a number on the board rests on; made, read within bounds, checked."""
