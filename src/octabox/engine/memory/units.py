"""Sizes of memory as text."""

from __future__ import annotations


def format_bytes(size: float) -> str:
    """Return a human-readable size."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size:.0f} bytes"
