"""Cascades: models that run one after another for one request, each with the outputs of the ones before it."""
