"""Names to vectors of the text space: CLIP, banks of vectors computed elsewhere, synonyms."""
