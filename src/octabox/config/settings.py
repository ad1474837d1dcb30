"""The server's settings: from a file, the environment and flags, in increasing order of precedence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator

from octabox.config.connection_settings import A1111Settings, ConnectionSettings, split_list
from octabox.config.document import read_document
from octabox.config.memory.memory_settings import MemorySettings
from octabox.config.model import Dtype, ResponseFormat
from octabox.config.performance import Profile
from octabox.config.problems import describe_expected, did_you_mean, format_value, nearest_location
from octabox.config.sections.cluster import ClusterSettings
from octabox.config.sections.hub import HubSettings
from octabox.config.sections.jobs import JobSettings
from octabox.errors import ConfigError, nearest
from octabox.prompts.names import Syntax

#: Prefix of all environment variables.
PREFIX = "OCTABOX_"

#: Variable with the path of the settings file.
FILE_VARIABLE = f"{PREFIX}CONFIG"

#: Variables of the commands that call a server: its URL and the API key.
CLIENT_VARIABLES = (f"{PREFIX}URL", f"{PREFIX}API_KEY")

#: Variable of the script that starts LocalAI's backend: the interpreter that has Octabox.
PYTHON_VARIABLE = f"{PREFIX}PYTHON"

#: Settings file that is read by default, if it exists.
DEFAULT_FILE = Path("octabox.yaml")


class Settings(JobSettings, ConnectionSettings, HubSettings, MemorySettings, ClusterSettings, A1111Settings):
    """Settings of the server."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)

    models: Path = Field(default=Path("models"), description="Folder of models and their configurations.")
    loras: Path | None = Field(default=None, description="Folder of LoRAs; by default `loras` in the folder of models.")
    embeddings: Path | None = Field(
        default=None,
        description="Folder of textual inversion embeddings; by default `embeddings` in the folder of models.",
    )
    max_adapters: int = Field(default=8, description="Maximum number of LoRAs that a model keeps in memory.", ge=1)
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("octabox"),
        description="Cache folder; by default `octabox` in the user's cache folder.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum level of log messages."
    )
    log_file: Path | None = Field(
        default=None,
        description="Log file; standard error by default. Warnings of libraries have level debug.",
    )
    api_keys: tuple[SecretStr, ...] = Field(
        default=(), description="API keys, one of which a client must send; without any, all clients are accepted."
    )
    queue_size: int = Field(default=32, description="Maximum number of requests that wait for a model.", ge=1)
    threads: int = Field(default=0, description="CPU threads of each model; 0 is one for each physical core.", ge=0)
    device: str | None = Field(
        default=None, description="Device of models that configure none; the best available by default."
    )
    dtype: Dtype = Field(default="auto", description="Dtype of models that configure none.")
    profile: Profile = Field(
        default="exact", description="Performance profile of models that configure none: exact, fast or turbo."
    )
    prompt_syntax: Syntax = Field(
        default="plain",
        description="Default prompt syntax: plain, a1111 or compel.",
    )
    wildcards: Path = Field(default=Path("wildcards"), description="Folder of wildcards for prompts: text files.")
    styles: Path = Field(
        default=Path("styles"), description="File or folder of styles for prompts: JSON, or A1111's CSV."
    )
    response_format: ResponseFormat | None = Field(
        default=None,
        description="How requests that do not choose receive images: url or b64_json. Default: b64_json from models that have "
        "the name of an OpenAI model with this default, such as gpt-image-1, otherwise url.",
    )
    result_ttl: int = Field(default=3600, description="Lifetime of results and their links, in seconds.", ge=1)
    max_image_pixels: int = Field(
        default=64 * 1024**2, description="Maximum size of an image that is read or generated, in pixels.", ge=1
    )
    max_upload_bytes: int = Field(
        default=50 * 1024**2, description="Maximum size of a file or a request, in bytes.", ge=1
    )
    max_frames: int = Field(
        default=2048, description="Maximum length of a video that is read or generated, in frames.", ge=1
    )
    max_audio_seconds: float = Field(
        default=600.0, description="Maximum length of audio or video that is read or generated, in seconds.", gt=0
    )
    max_outputs: int = Field(default=10, description="Maximum number of outputs of a request.", ge=1)
    max_steps: int = Field(default=1000, description="Maximum number of denoising steps of a request.", ge=1)
    fetch_timeout: float = Field(default=30.0, description="Timeout for downloading an input by URL, in seconds.", gt=0)
    load_timeout: float = Field(
        default=1800.0, description="Timeout for loading a model, including its download, in seconds.", gt=0
    )
    silence_timeout: float = Field(
        default=60.0,
        description="Timeout of a model's process that shows no sign of life, in seconds; 0 is no limit.",
        ge=0,
    )
    progress_timeout: float = Field(
        default=3600.0,
        description="Timeout of a request that makes no progress, such as in one step, in seconds; 0 is no limit.",
        ge=0,
    )
    preload: tuple[str, ...] = Field(default=(), description="Models to load at startup.")

    @field_validator("api_keys", "admin_keys", "preload", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Split text at commas, for lists in environment variables."""
        return split_list(value)

    @field_validator("log_level", "dtype", "profile", "prompt_syntax", "engine", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        """Accept any letter case."""
        return value.lower() if isinstance(value, str) else value

    @property
    def accepted_keys(self) -> tuple[SecretStr, ...]:
        """The keys of all clients: admin keys are API keys too, but do not require one of everybody by themselves."""
        return (*self.api_keys, *self.admin_keys) if self.api_keys else ()

    @property
    def lora_folder(self) -> Path:
        """Folder of LoRAs."""
        return self.loras or self.models / "loras"

    @property
    def embedding_folder(self) -> Path:
        """Folder of embeddings."""
        return self.embeddings or self.models / "embeddings"

    @property
    def pipeline_folder(self) -> Path:
        """Folder of pipelines in single Python files."""
        return self.models / "pipelines"

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each setting that is not a default comes from: a flag, a variable, or the line of a file."""
        return self._sources

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about unknown environment variables."""
        return self._warnings

    @classmethod
    def load(
        cls,
        flags: Mapping[str, object] | None = None,
        file: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Load the settings from a file, the environment and flags.

        Args:
            flags: Flags of the command line by field; None is a flag that was not set.
            file: The settings file; by default that of OCTABOX_CONFIG, else ``octabox.yaml`` if it exists.
            environ: The environment.

        Raises:
            ConfigError: The file cannot be read, or a value is invalid; the error includes the value's source.
        """
        values = _from_file(file, environ) | _from_environment(environ) | _from_flags(flags or {})
        try:
            settings = cls.model_validate({name: setting.value for name, setting in values.items()})
        except ValidationError as error:
            raise _config_error(error, values) from None
        settings._warnings = tuple(_unknown_variables(environ))  # noqa: SLF001 (an instance of this class)
        settings._sources = {name: setting.source for name, setting in values.items()}  # noqa: SLF001 (likewise)
        return settings


def describe_settings(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the ``value`` as text and the ``source`` of each setting; keys and passwords are hidden."""
    return {
        name: {"value": _format_setting(value), "source": settings.sources.get(name, "default")}
        for name, value in settings.model_dump(mode="json").items()
    }


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Return the keys and passwords of settings, which no log may show."""
    values = (getattr(settings, name) for name in Settings.model_fields)
    found = (each for value in values for each in (value if isinstance(value, tuple) else (value,)))
    return tuple(each.get_secret_value() for each in found if isinstance(each, SecretStr))


def _format_setting(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, {}) else str(value)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command line flag of a setting; that of a setting which is on by default switches it off."""
    prefix = "--no-" if Settings.model_fields[name].default is True else "--"
    return prefix + name.replace("_", "-")


@dataclass(frozen=True)
class _Value:
    """A value and its source."""

    value: object
    source: str


def _from_flags(flags: Mapping[str, object]) -> dict[str, _Value]:
    """Return the values of the command line."""
    return {name: _Value(value, flag(name)) for name, value in flags.items() if value is not None}


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Value]:
    """Return the values of the environment; empty variables are ignored."""
    names = {variable(name): name for name in Settings.model_fields}
    return {names[key]: _Value(value, key) for key, value in environ.items() if key in names and value}


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each unknown variable with the prefix."""
    known = {FILE_VARIABLE, PYTHON_VARIABLE, *CLIENT_VARIABLES, *map(variable, Settings.model_fields)}
    warnings = []
    for key in sorted(key for key in environ if key.startswith(PREFIX) and key not in known):
        similar = nearest(key.removeprefix(PREFIX), Settings.model_fields, count=1)
        hint = f"; did you mean {variable(similar[0])}?" if similar else "."
        warnings.append(f"{key} is not a setting{hint}")
    return warnings


def _from_file(file: Path | None, environ: Mapping[str, str]) -> dict[str, _Value]:
    """Return the values of the settings file."""
    selected = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    file = selected or DEFAULT_FILE
    if selected is None and not file.is_file():
        return {}
    document = read_document(file)
    if document.problems:
        problem = document.problems[0]
        source = f"{problem.file}:{problem.line}:{problem.column}"
        raise ConfigError(f"{source}: {problem.message}", hint=problem.hint)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: settings must be a mapping (key: value), not {format_value(data)}.")
    values = {}
    for key, value in data.items():
        line = nearest_location((key,), document.locations).line
        if key not in Settings.model_fields:
            hint = did_you_mean(key, Settings.model_fields).capitalize()
            raise ConfigError(f"{file}:{line}: there is no setting {key!r}.", hint=hint, choices=Settings.model_fields)
        if value is not None:
            values[key] = _Value(value, f"{file}:{line}")
    return values


def _config_error(error: ValidationError, values: Mapping[str, _Value]) -> ConfigError:
    """Return one error for all invalid values, with the source and the expected value of each."""
    messages = []
    for details in error.errors():
        name = str(details["loc"][0])
        source = values[name].source
        if details["type"] == "extra_forbidden":
            messages.append(f"{source}: there is no setting {name!r}.")
            continue
        is_secret = "SecretStr" in str(Settings.model_fields[name].annotation)
        value = "***" if is_secret else format_value(details["input"])
        messages.append(f"{source}: `{name}` {describe_expected(details)}, not {value}.")
    first = error.errors()[0]
    hint = did_you_mean(str(first["input"]), str(first.get("ctx", {}).get("expected", "")).replace("'", "").split(", "))
    return ConfigError(" ".join(messages), hint=hint.capitalize(), parameter=str(first["loc"][0]))
