"""The settings of the server for a cluster of machines."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from octabox.config.sections.conditions import only_with


class ClusterSettings(BaseModel):
    """Settings of the server for a cluster of machines."""

    engine: Literal["local", "ray"] = Field(
        default="local", description="Where models run: local is this machine, ray a cluster of machines."
    )
    ray_address: str | None = Field(
        default=None,
        description="Head of the Ray cluster, such as 10.0.0.5:6379; auto is the one of this machine. By default one is "
        "started here.",
        json_schema_extra=only_with(engine="ray"),
    )
    max_replicas: int = Field(
        default=0,
        description="Maximum number of replicas of a model on a cluster; 0 is as many as have room.",
        ge=0,
        json_schema_extra=only_with(engine="ray"),
    )
    file_store: str | None = Field(
        default=None,
        description="Folder or URL, such as s3://bucket/octabox, of files that servers and nodes share: results, files of "
        "background jobs, and large messages of a cluster. By default each server has its own.",
    )
    cluster_grows: bool = Field(
        default=False,
        description="Whether an autoscaler adds nodes to the cluster, so that a model waits for one that it fits on.",
        json_schema_extra=only_with(engine="ray"),
    )
