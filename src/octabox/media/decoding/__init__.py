"""Decode input files in separate processes, so that a malicious file can crash a decoder but not the server."""
