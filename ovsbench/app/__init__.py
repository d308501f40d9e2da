"""A page on this machine: a video, some words, a model; the overlay and the masks come back."""
