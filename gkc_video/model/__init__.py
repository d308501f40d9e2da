"""The network: frames in; masks, embeddings and class logits out; and its post-processing into regions."""
