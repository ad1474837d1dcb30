"""Offloaders: each moves the weights of one component between the host and the device."""
