"""Tiny pipelines whose denoiser is a UNet over latents of images, and their kin."""
