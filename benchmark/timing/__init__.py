"""How fast things are, stage by stage."""
