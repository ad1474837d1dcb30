"""The settings of the API of the AUTOMATIC1111 web UI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, SecretStr, field_validator

from octabox.config.connection_settings import split_list


class A1111Settings(BaseModel):
    """Settings of the API of the AUTOMATIC1111 web UI."""

    a1111: bool = Field(default=True, description="Whether to serve the API of the AUTOMATIC1111 web UI.")
    a1111_auth: tuple[SecretStr, ...] = Field(
        default=(),
        description="Users of that API as USER:PASSWORD, one of which a client must send by HTTP Basic authentication; "
        "the API keys are valid too.",
    )
    a1111_server_control: bool = Field(
        default=False, description="Whether clients of that API may stop the server by `server-kill` and its siblings."
    )

    @field_validator("a1111_auth", mode="before")
    @classmethod
    def _split_users(cls, value: Any) -> Any:
        """Split text at commas, for lists in environment variables."""
        return split_list(value)

    @field_validator("a1111_auth")
    @classmethod
    def _users(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        """Refuse anything but a user and a password."""
        if not all(all(each.get_secret_value().partition(":")[::2]) for each in value):
            raise ValueError("must be USER:PASSWORD, both not empty")
        return value
