"""The commands of a cluster of machines."""
