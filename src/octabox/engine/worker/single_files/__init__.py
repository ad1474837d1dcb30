"""What models, components, LoRAs and other weights in single files have in common."""
