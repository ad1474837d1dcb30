"""Images from prompts and from images: ``txt2img`` and ``img2img``."""
