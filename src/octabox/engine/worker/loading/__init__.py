"""Where a model comes from, besides a folder: single files, and what is done with a model other than run it."""
