"""LoRAs and embeddings in files: what they are, what they fit, and where they stand."""
