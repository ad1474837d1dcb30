"""Models of the Hub for a server: downloads in the background, search and the models on disk."""
