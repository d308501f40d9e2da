"""Dense features of a frozen CLIP: what the training-free family and mask pooling read their class scores off."""
