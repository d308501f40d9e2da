"""GKC, a fast open-vocabulary segmenter whose queries live in the text space of CLIP, and links between its frames."""
