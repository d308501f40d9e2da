"""Pictures for people: overlays, legends, strips and figures."""
