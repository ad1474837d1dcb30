"""A decoder without processes, for tests of what comes after decoding."""

from __future__ import annotations

import asyncio

from octabox.media.decoding.decoders import DECODERS, Decoded
from octabox.media.limits import MediaLimits


class InProcessDecoder:
    """Decodes in this process; files of the tests harm nobody.

    Args:
        limits: Limits of the input.
    """

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits

    async def decode(self, kind: str, data: bytes, *, parameter: str) -> Decoded:
        """Decode a file."""
        return await asyncio.to_thread(DECODERS[kind], data, parameter=parameter, limits=self._limits)
