"""Our one pipeline: it makes images larger by networks of the ESRGAN kind, which spandrel reads."""
