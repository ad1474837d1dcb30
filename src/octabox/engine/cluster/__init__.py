"""Where requests run on several devices: routing, placement, eviction and autoscaling, as pure functions.

Nothing here reads a clock, a device or a file: the engines describe their devices and replicas, and carry out what is
decided. `benchmarks/simulation.py` runs the same functions against a model of a thousand devices.
"""
