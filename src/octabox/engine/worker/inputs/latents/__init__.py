"""What a call changes about its latents: the initial noise, what fills a mask, and padding of convolutions."""
