"""End a node without ending the calls that run there."""
