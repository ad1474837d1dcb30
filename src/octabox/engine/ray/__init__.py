"""The engine of a cluster of machines, whose workers are actors of Ray; only this package imports ray."""
