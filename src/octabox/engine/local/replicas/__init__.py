"""The replicas of a model on the devices of a machine or a cluster: which one serves a request, and when one is added."""
