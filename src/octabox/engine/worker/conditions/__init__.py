"""Conditions of a call: ControlNets, IP-Adapters, LoRAs and textual inversion."""
