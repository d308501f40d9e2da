"""The embedded world: a procedural video data set with names, made in seconds."""
