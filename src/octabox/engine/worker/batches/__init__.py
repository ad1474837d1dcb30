"""Batches in a worker: the probe of a class, the learned sizes, joined arguments and divided outputs."""
