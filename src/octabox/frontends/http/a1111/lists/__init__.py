"""Lists: models, samplers, upscalers, LoRAs, styles and scripts; and the options and the memory of the server."""
