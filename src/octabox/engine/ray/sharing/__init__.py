"""Servers of one cluster that give each other the places of their idle replicas."""
