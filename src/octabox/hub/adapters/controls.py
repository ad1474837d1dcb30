"""Compare the configurations of a ControlNet or adapter and of a denoiser, which differ if they are of two model families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Names of the denoiser component.
DENOISERS = ("unet", "transformer")

#: Configuration keys of the width of the text embeddings that a component takes.
EMBEDDING_WIDTHS = ("cross_attention_dim", "joint_attention_dim")

#: Configuration key that is set if a component projects text embeddings of another width.
PROJECTION = "encoder_hid_dim"


def find_mismatches(component: Mapping[str, Any], denoiser: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that must be equal in both configurations and differ: key, component's and denoiser's value."""
    for name in EMBEDDING_WIDTHS:
        value, expected = component.get(name), denoiser.get(name)
        comparable = isinstance(value, int) and isinstance(expected, int)
        projects = component.get(PROJECTION) is not None or denoiser.get(PROJECTION) is not None
        if comparable and value != expected and not projects:
            yield name, value, expected
    channels, blocks = component.get("channels"), denoiser.get("block_out_channels")
    if channels and blocks and list(channels[: len(blocks)]) != list(blocks):
        yield "channels", list(channels), list(blocks)
