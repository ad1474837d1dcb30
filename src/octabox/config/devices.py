"""Names of devices in configurations."""

from __future__ import annotations

#: Device name for the best accelerator of any type.
ACCELERATOR = "accelerator"
