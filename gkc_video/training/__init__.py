"""Training of GKC and of the small CLIP that teaches it on the embedded world."""
