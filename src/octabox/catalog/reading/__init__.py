"""Turn diffusers' source into entries of the catalog."""
