"""ControlNets, IP-Adapters, LoRAs and textual inversion embeddings of a loaded model."""
