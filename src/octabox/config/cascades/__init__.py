"""The configuration of cascades."""
