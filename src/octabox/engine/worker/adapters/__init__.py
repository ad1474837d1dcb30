"""What changes a loaded model for one call, or adds words to its prompts: LoRAs and embeddings."""
