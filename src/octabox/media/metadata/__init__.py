"""Generation metadata in media files, in the format of Octabox and of other programs."""
