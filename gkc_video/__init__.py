"""GKC, a fast open-vocabulary segmenter whose queries live in the text space of CLIP, and links between its frames."""

if not __name__.startswith("ovsbench."):
    raise ImportError(f"expected the import name ovsbench.{__name__}, got {__name__}. Import ovsbench.{__name__}")
