"""The settings of the server for models of the Hub."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class HubSettings(BaseModel):
    """Settings of the server for models of the Hub."""

    admin_keys: tuple[SecretStr, ...] = Field(
        default=(),
        description="API keys of administrators, who may search, download and remove models of the Hub, and pause "
        "background jobs. Without any, clients of this machine may manage models, if there are no API keys, "
        "and every client may pause jobs.",
    )
    hub: bool = Field(default=True, description="Whether administrators may manage models of the Hub over HTTP.")
    allow_hub: bool = Field(default=False, description="Whether clients may use any model of the Hub by its id.")
