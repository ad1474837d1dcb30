"""The settings of the server for the memory of models."""

from __future__ import annotations

from pydantic import BaseModel, Field

from octabox.config.memory.durations import Duration
from octabox.config.memory.limits import MemoryLimits


class MemorySettings(BaseModel):
    """Settings of the server for the memory of models."""

    max_resident: int = Field(default=0, description="Maximum number of models in memory; 0 is no limit.", ge=0)
    max_memory: MemoryLimits = Field(
        default_factory=dict,
        description="Maximum memory of models: a size for each device, such as 20GiB, or sizes by place, such as "
        "cuda:0=20GiB,host=16GiB. Default: what is free, less a reserve.",
    )
    keep_alive: Duration | None = Field(
        default=None,
        description="How long models that configure none stay in memory without requests, such as 5m; never by default.",
    )
    run_server: bool = Field(
        default=True,
        description="Whether `octabox run` keeps a server in the background for its next use, which ends after `keep_alive` "
        "without requests, by default 5 minutes.",
    )
