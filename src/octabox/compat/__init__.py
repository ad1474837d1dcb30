"""Modules with the public names of modules of other programs, for code that imports those."""
