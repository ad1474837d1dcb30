"""What a model needs of the Hub, and where it is on this machine: the one way from a Hub id to its files."""
