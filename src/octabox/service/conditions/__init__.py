"""Check the conditions of a request: control images, image prompts and LoRAs."""
