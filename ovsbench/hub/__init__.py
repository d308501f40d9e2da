"""Public models by name: the table of them, and the weights of a hub as files here. The only room that may fetch."""
