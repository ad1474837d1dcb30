"""A pipeline for image upscaling by super-resolution networks such as ESRGAN, loaded by spandrel."""
