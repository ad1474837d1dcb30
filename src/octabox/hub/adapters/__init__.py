"""Adapter files: LoRAs, embeddings and IP-Adapters, their metadata and compatibility."""
