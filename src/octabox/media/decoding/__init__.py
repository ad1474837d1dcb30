"""Decode the files of clients in processes that may die: what is wrong with a file ends a decoder, not the server."""
