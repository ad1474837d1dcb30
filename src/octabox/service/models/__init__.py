"""The models of a server: which there are at one time, and which are in memory."""
