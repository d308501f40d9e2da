"""Files on disk: written whole or not at all; masks as PNG, as run lengths, as tracks; banks of name vectors."""
