"""A place in the queue of a model."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call
from octabox.errors import OctaboxError
from octabox.types import Event


@dataclass(eq=False)
class Ticket:
    """A place in the queue: a call, or the request to have the model loaded."""

    model: ModelConfig
    pipeline: str
    call: Call | None = None
    events: asyncio.Queue[Event | OctaboxError | None] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    begun: bool = False
    queued: float = field(default_factory=time.perf_counter)
    timings: dict[str, float] = field(default_factory=dict)
