"""Tiny pipelines whose denoiser is a UNet over latents of pictures, and their kin."""
