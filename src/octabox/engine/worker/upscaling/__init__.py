"""Our one pipeline: it makes pictures larger by networks of the ESRGAN kind, which spandrel reads."""
