"""The settings of the server for background jobs: where they are stored, how many and for how long."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from platformdirs import user_data_path
from pydantic import BaseModel, Field, SecretStr, field_validator

#: Start of the text of a key for webhooks, as defined by Standard Webhooks.
WEBHOOK_PREFIX = "whsec_"

#: Smallest and largest size of such a key in bytes, from the same specification.
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64

#: URLs of databases, in SQLAlchemy's form.
_DATABASE = re.compile(r"(postgresql|sqlite)(\+\w+)?://", re.IGNORECASE)


class JobSettings(BaseModel):
    """Settings of the server for background jobs."""

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("octabox"),
        description="Data folder, with background jobs and their results; by default `octabox` in the user's data folder.",
    )
    job_store: SecretStr | None = Field(
        default=None,
        description="URL of the database of background jobs, such as `postgresql://user:password@host/name`; "
        "by default an SQLite file in the data folder.",
    )
    job_ttl: int = Field(
        default=24 * 3600, description="Lifetime of ended background jobs and their results, in seconds.", ge=1
    )
    max_jobs: int = Field(default=10_000, description="Maximum number of background jobs that wait.", ge=1)
    job_quota: int = Field(
        default=0,
        description="Maximum number of background jobs of an API key, or of an address without keys, that wait or run; "
        "0 is no limit.",
        ge=0,
    )
    max_job_bytes: int = Field(
        default=0,
        description="Maximum size of the results of all background jobs on disk, in bytes; the oldest expire first. "
        "0 is no limit.",
        ge=0,
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="Key that signs webhooks: `whsec_` and base64. Without it, jobs with a webhook are refused.",
    )

    @field_validator("job_store")
    @classmethod
    def _check_database(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse URLs of databases that are not supported."""
        if value is not None and not _DATABASE.match(value.get_secret_value()):
            raise ValueError("must be a URL that starts with postgresql:// or sqlite://")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse keys that receivers cannot read, or that are too short."""
        if value is not None and not MIN_KEY_BYTES <= len(webhook_key(value.get_secret_value())) <= MAX_KEY_BYTES:
            size = f"{MIN_KEY_BYTES} to {MAX_KEY_BYTES}"
            raise ValueError(f"must be {WEBHOOK_PREFIX} and {size} bytes in base64")
        return value


def webhook_key(text: str) -> bytes:
    """Return the bytes of a key for webhooks; none if the text is not such a key."""
    if not text.startswith(WEBHOOK_PREFIX):
        return b""
    try:
        return base64.b64decode(text.removeprefix(WEBHOOK_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""
