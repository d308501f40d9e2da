"""What GKC is compared with: two bounds that need no model or true masks, and the two-stage road through CLIP."""
