"""Settings of the backend that LocalAI's users give it by environment variables, under LocalAI's own names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from octabox.config.problems import expectation
from octabox.errors import ConfigError

#: Seconds of each unit that a duration may be given in, as Go writes them.
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

#: What is read as "no", in any letter case; anything else that is not empty is "yes".
_NO = {"0", "false", "no", "off"}


class Environment(BaseModel):
    """The variables, in LocalAI's names with small letters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compel: bool = Field(default=False, description="Read weights in prompts as Compel writes them.")
    sd_embed: bool = Field(default=False, description="Read weights in prompts as A1111 writes them.")
    xpu: bool = Field(default=False, description="Run on an Intel GPU.")
    clipskip: bool = Field(default=True, description="Whether CLIPSkip is honoured, where the pipeline has it.")
    safetensors: bool = Field(
        default=True,
        description="Whether weights must be safetensors files; else other files serve where there are none.",
    )
    chunk_size: int = Field(
        default=8, description="Frames that are decoded at once, where the pipeline can be told.", ge=1
    )
    fps: int = Field(default=7, description="Frames a second of a video that GenerateImage makes.", ge=1, le=240)
    frames: int = Field(default=64, description="Frames of a video that GenerateImage makes from words.", ge=1)
    disable_cpu_offload: bool = Field(default=False, description="Keep all of the model on the accelerator.")
    bfl_repo: str = Field(
        default="ChuckMcSneed/FLUX.1-dev", description="Repository of what a lone Flux transformer lacks.", min_length=1
    )
    python_grpc_max_workers: int = Field(default=1, description="Requests that are worked on at once.", ge=1)
    localai_grpc_auth_token: SecretStr = Field(
        default=SecretStr(""), description="Token that every call must bring; none: all may call."
    )
    localai_backend_parent_watch: bool = Field(default=True, description="End when the parent process has ended.")
    localai_backend_parent_watch_interval: float = Field(
        default=2.0, description="Time between two looks at the parent, such as 500ms, 2s or 1m.", gt=0
    )
    models_path: Path | None = Field(default=None, description="Folder of LocalAI's models.")
    generated_content_path: Path = Field(
        default=Path("/tmp/generated/content"),  # noqa: S108 (LocalAI's own default)
        description="Folder that LocalAI has results written into.",
    )
    upload_path: Path = Field(
        default=Path("/tmp/localai/upload"),  # noqa: S108 (LocalAI's own default)
        description="Folder of files that LocalAI's clients have sent.",
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
        """Take words for yes and no."""
        return value.strip().lower() not in _NO if isinstance(value, str) else value

    @field_validator("localai_backend_parent_watch_interval", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        """Take a duration as Go writes it; a plain number is seconds."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)?", value.strip())
        if match is None:
            raise ValueError("must be a duration such as 500ms, 2s or 1m")
        return float(match[1]) * _UNITS[match[2] or "s"]

    @property
    def prompt_syntax(self) -> str:
        """How prompts are read; empty: as the server's settings say. What sd_embed reads is A1111's syntax."""
        return "compel" if self.compel else "a1111" if self.sd_embed else ""

    @property
    def token(self) -> str:
        """Token that every call must bring; empty: all may call."""
        return self.localai_grpc_auth_token.get_secret_value()

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Environment:
        """Read the variables; one that is empty is not given.

        Raises:
            ConfigError: A value is wrong.
        """
        given = {field: value for field in cls.model_fields if (value := _value(field, environ))}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = variable(str(first["loc"][0]))
            raise ConfigError(
                f"{name} {expectation(first)}, not {given[str(first['loc'][0])]!r}.", parameter=name
            ) from None


def variable(field: str) -> str:
    """Return the environment variable of a setting."""
    return field.upper()


def _value(field: str, environ: Mapping[str, str]) -> str:
    """Return a variable's value; LocalAI's core knows its folders by two names."""
    return environ.get(variable(field)) or (
        environ.get(f"LOCALAI_{variable(field)}", "") if field.endswith("_path") else ""
    )
