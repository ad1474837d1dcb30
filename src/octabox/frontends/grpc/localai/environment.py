"""Settings of the backend by LocalAI's environment variables."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from octabox.config.problems import describe_expected
from octabox.errors import ConfigError

logger = logging.getLogger("octabox.localai")

#: Variables of LocalAI's backends that have no effect, with what applies instead.
UNUSED = {"PYTHON_GRPC_MAX_WORKERS": "calls wait in the queue of the model, whose length is the setting `queue_size`"}

#: Seconds in each unit of a duration in Go's format.
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

#: Values for false in any case. Other values are true.
_FALSE = {"0", "false", "no", "off"}


class Environment(BaseModel):
    """LocalAI's variables, by their names in lower case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compel: bool = Field(default=False, description="Parse weights in prompts in Compel's syntax.")
    sd_embed: bool = Field(default=False, description="Parse weights in prompts in A1111's syntax.")
    xpu: bool = Field(default=False, description="Run on an Intel GPU.")
    clipskip: bool = Field(default=True, description="Whether CLIPSkip is used, if the pipeline has the parameter.")
    safetensors: bool = Field(
        default=True,
        description="Whether weights must be safetensors files.",
    )
    chunk_size: int = Field(
        default=8, description="Frames to decode together, if the pipeline has the parameter.", ge=1
    )
    fps: int = Field(default=7, description="Frames per second of a video of GenerateImage.", ge=1, le=240)
    frames: int = Field(default=64, description="Number of frames of a video of GenerateImage without an image.", ge=1)
    disable_cpu_offload: bool = Field(default=False, description="Keep all components on the accelerator.")
    bfl_repo: str = Field(
        default="ChuckMcSneed/FLUX.1-dev",
        description="Repository of the components that a single Flux transformer file lacks.",
        min_length=1,
    )
    localai_grpc_auth_token: SecretStr = Field(
        default=SecretStr(""), description="Token that each call must have; default: none."
    )
    localai_backend_parent_watch: bool = Field(default=True, description="Stop when the parent process has ended.")
    localai_backend_parent_watch_interval: float = Field(
        default=2.0, description="Time between two checks of the parent, such as 500ms, 2s or 1m.", gt=0
    )
    models_path: Path | None = Field(default=None, description="Folder of LocalAI's models.")
    generated_content_path: Path = Field(
        default=Path("/tmp/generated/content"),  # noqa: S108 (LocalAI's own default)
        description="Folder for results.",
    )
    upload_path: Path = Field(
        default=Path("/tmp/localai/upload"),  # noqa: S108 (LocalAI's own default)
        description="Folder of files that clients have sent.",
    )

    @field_validator(
        "compel",
        "sd_embed",
        "xpu",
        "clipskip",
        "safetensors",
        "disable_cpu_offload",
        "localai_backend_parent_watch",
        mode="before",
    )
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """Convert texts for true and false."""
        return value.strip().lower() not in _FALSE if isinstance(value, str) else value

    @field_validator("localai_backend_parent_watch_interval", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        """Convert a duration in Go's format; a number without a unit is in seconds."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)?", value.strip())
        if match is None:
            raise ValueError("must be a duration such as 500ms, 2s or 1m")
        return float(match[1]) * _UNITS[match[2] or "s"]

    @property
    def prompt_syntax(self) -> str:
        """Syntax of prompts; empty for that of the server's settings. sd_embed parses A1111's syntax."""
        return "compel" if self.compel else "a1111" if self.sd_embed else ""

    @property
    def token(self) -> str:
        """Token that each call must have; empty for none."""
        return self.localai_grpc_auth_token.get_secret_value()

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Environment:
        """Return the settings of the environment; empty variables are ignored.

        Raises:
            ConfigError: A value is invalid.
        """
        for name, reason in UNUSED.items():
            if environ.get(name):
                logger.warning("%s has no effect: %s", name, reason)
        values = {field: value for field in cls.model_fields if (value := _read(field, environ))}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = variable(str(first["loc"][0]))
            raise ConfigError(
                f"{name} {describe_expected(first)}, not {values[str(first['loc'][0])]!r}.", parameter=name
            ) from None


def variable(field: str) -> str:
    """Return the environment variable of a setting."""
    return field.upper()


def _read(field: str, environ: Mapping[str, str]) -> str:
    """Return the value of a variable; those of folders have a second name with a prefix."""
    return environ.get(variable(field)) or (
        environ.get(f"LOCALAI_{variable(field)}", "") if field.endswith("_path") else ""
    )
