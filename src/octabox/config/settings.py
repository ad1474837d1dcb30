"""The server's settings: by file, by environment and by flags, each stronger than the one before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator

from octabox.config.document import read_document
from octabox.config.model import Dtype
from octabox.config.performance import Profile
from octabox.config.problems import did_you_mean, expectation, nearest_place, shown
from octabox.errors import ConfigError, nearest
from octabox.prompts.names import Syntax

#: What every environment variable of ours begins with.
PREFIX = "OCTABOX_"

#: Variable that names the settings file.
FILE_VARIABLE = f"{PREFIX}CONFIG"

#: Variables of the verbs that ask a server: where it is, and their key.
CLIENT_VARIABLES = (f"{PREFIX}URL", f"{PREFIX}API_KEY")

#: Settings file that is read where none is named, if it is there.
DEFAULT_FILE = Path("octabox.yaml")


class Settings(BaseModel):
    """How the server runs; one field for each setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 is every one of this machine.")
    port: int = Field(default=8080, description="Port to listen on; 0 takes a free one.", ge=0, le=65535)
    models: Path = Field(default=Path("models"), description="Folder of models and their configurations.")
    loras: Path | None = Field(default=None, description="Folder of LoRAs; by default `loras` in the folder of models.")
    embeddings: Path | None = Field(
        default=None,
        description="Folder of embeddings, each a word of prompts; by default `embeddings` in that of models.",
    )
    max_adapters: int = Field(default=8, description="LoRAs that one model keeps in memory.", ge=1)
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("octabox"),
        description="Folder for what can be made again; by default `octabox` in the user's cache folder.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_file: Path | None = Field(
        default=None,
        description="File to log to, the libraries' warnings at level debug; standard error, if not given.",
    )
    api_keys: tuple[SecretStr, ...] = Field(
        default=(), description="Keys, one of which a client must send; none: all may ask."
    )
    allow_hub: bool = Field(default=False, description="Whether clients may ask for any model of the Hub by its id.")
    queue_size: int = Field(default=32, description="Requests that may wait for one model.", ge=1)
    max_resident: int = Field(default=0, description="Models that may be in memory at once; 0 is no limit.", ge=0)
    threads: int = Field(
        default=0, description="Processor threads of each model; 0 is one for each physical core.", ge=0
    )
    device: str | None = Field(
        default=None, description="Device of models that name none; the best there is, if not given."
    )
    dtype: Dtype = Field(default="auto", description="Type of numbers of models that name none.")
    profile: Profile = Field(
        default="exact", description="Performance profile of models that name none: exact, fast or turbo."
    )
    prompt_syntax: Syntax = Field(
        default="plain",
        description="How prompts are read where neither model nor request says: plain, a1111 or compel.",
    )
    wildcards: Path = Field(default=Path("wildcards"), description="Folder of wildcards for prompts: text files.")
    styles: Path = Field(
        default=Path("styles"), description="File or folder of styles for prompts: JSON, or A1111's CSV."
    )
    public_url: str | None = Field(
        default=None, description="Address by which clients reach the server, for links in its answers."
    )
    result_ttl: int = Field(default=3600, description="Seconds for which a link to a result is good.", ge=1)
    max_image_pixels: int = Field(
        default=64 * 1024**2, description="Largest image that is read or made, in pixels.", ge=1
    )
    max_upload_bytes: int = Field(
        default=50 * 1024**2, description="Largest file or request that is taken, in bytes.", ge=1
    )
    max_frames: int = Field(default=2048, description="Longest video that is read or made, in frames.", ge=1)
    max_audio_seconds: float = Field(
        default=600.0, description="Longest audio, and longest video, that is read, in seconds.", gt=0
    )
    max_outputs: int = Field(default=10, description="Outputs that one request may ask for.", ge=1)
    max_steps: int = Field(default=1000, description="Denoising steps that one request may ask for.", ge=1)
    fetch_timeout: float = Field(default=30.0, description="Seconds for fetching an input by URL.", gt=0)
    load_timeout: float = Field(default=1800.0, description="Seconds for loading a model, its download included.", gt=0)
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Web origins whose pages may call the server; `*` is any."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Host names that clients may use for the server, such as `gpu.example.org` or `*.example.org`; `*` is any. "
        "Not given: loopback names where `host` is a loopback address, any elsewhere.",
    )
    preload: tuple[str, ...] = Field(default=(), description="Models to load when the server starts.")

    @field_validator("api_keys", "cors_origins", "allowed_hosts", "preload", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Take text with commas for a list: an environment variable has no other way to say it."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("log_level", "dtype", "profile", "prompt_syntax", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        """Take words in any letter case, as environments often have them."""
        return value.lower() if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        """Make sure that it can be put before a path."""
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be a web address (http:// or https://)")
        return value.rstrip("/") if value else None

    @property
    def lora_folder(self) -> Path:
        """Folder of LoRAs."""
        return self.loras or self.models / "loras"

    @property
    def embedding_folder(self) -> Path:
        """Folder of embeddings."""
        return self.embeddings or self.models / "embeddings"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found odd while they were read, but stops nothing."""
        return self._warnings

    @classmethod
    def load(
        cls,
        flags: Mapping[str, object] | None = None,
        file: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Read the settings.

        Args:
            flags: Flags of the command line by field; those that are None were not given.
            file: The settings file; by default the one that OCTABOX_CONFIG names, else ``octabox.yaml`` if it is there.
            environ: The environment.

        Raises:
            ConfigError: The file cannot be read, or a value is wrong; where it came from is said.
        """
        given = _from_file(file, environ) | _from_environment(environ) | _from_flags(flags or {})
        try:
            settings = cls.model_validate({name: setting.value for name, setting in given.items()})
        except ValidationError as error:
            raise _wrong(error, given) from None
        settings._warnings = tuple(_unknown_variables(environ))  # noqa: SLF001 (our own)
        return settings


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command line flag of a setting."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class _Given:
    """A value, and where it was given."""

    value: object
    where: str


def _from_flags(flags: Mapping[str, object]) -> dict[str, _Given]:
    """Return what the command line gives."""
    return {name: _Given(value, flag(name)) for name, value in flags.items() if value is not None}


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    """Return what the environment gives; a variable that is empty gives nothing."""
    names = {variable(name): name for name in Settings.model_fields}
    return {names[key]: _Given(value, key) for key, value in environ.items() if key in names and value}


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that looks like ours and is none."""
    known = {FILE_VARIABLE, *CLIENT_VARIABLES, *map(variable, Settings.model_fields)}
    found = []
    for key in sorted(key for key in environ if key.startswith(PREFIX) and key not in known):
        like = nearest(key.removeprefix(PREFIX), Settings.model_fields, count=1)
        found.append(f"{key} is no setting; did you mean {variable(like[0])}?" if like else f"{key} is no setting.")
    return found


def _from_file(file: Path | None, environ: Mapping[str, str]) -> dict[str, _Given]:
    """Return what the settings file gives."""
    named = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    file = named or DEFAULT_FILE
    if named is None and not file.is_file():
        return {}
    document = read_document(file)
    if document.problems:
        problem = document.problems[0]
        where = f"{problem.file}:{problem.line}:{problem.column}"
        raise ConfigError(f"{where}: {problem.message}", hint=problem.hint)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: settings must be a mapping (key: value), not {shown(data)}.")
    given = {}
    for key, value in data.items():
        line = nearest_place((key,), document.places).line
        if key not in Settings.model_fields:
            hint = did_you_mean(key, Settings.model_fields).capitalize()
            raise ConfigError(f"{file}:{line}: there is no setting {key!r}.", hint=hint, choices=Settings.model_fields)
        if value is not None:
            given[key] = _Given(value, f"{file}:{line}")
    return given


def _wrong(error: ValidationError, given: Mapping[str, _Given]) -> ConfigError:
    """Return one error that says of every wrong value what it must be, and where it was given."""
    messages = []
    for details in error.errors():
        name = str(details["loc"][0])
        where = given[name].where
        if details["type"] == "extra_forbidden":
            messages.append(f"{where}: there is no setting {name!r}.")
            continue
        value = "***" if name == "api_keys" else shown(details["input"])
        messages.append(f"{where}: `{name}` {expectation(details)}, not {value}.")
    first = error.errors()[0]
    hint = did_you_mean(str(first["input"]), str(first.get("ctx", {}).get("expected", "")).replace("'", "").split(", "))
    return ConfigError(" ".join(messages), hint=hint.capitalize(), parameter=str(first["loc"][0]))
