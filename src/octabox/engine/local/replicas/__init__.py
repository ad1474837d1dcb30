"""The replicas of a model on the devices of this machine: which one serves a request, and when another one is loaded."""
