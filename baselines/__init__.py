"""What GKC is compared with: two bounds that need no model or true masks, and the two-stage road through CLIP."""

if not __name__.startswith("ovsbench."):
    raise ImportError(f"expected the import name ovsbench.{__name__}, got {__name__}. Import ovsbench.{__name__}")
