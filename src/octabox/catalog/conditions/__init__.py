"""Conditions of a call: control images and IP-Adapter images."""
