"""Find the models in a folder: configuration files, folders as diffusers saves them, and checkpoint files."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from octabox import demo
from octabox.config.aliases import Alias, names_of, resolve_aliases
from octabox.config.model import MODEL_REPOSITORY, ComponentConfig, ModelConfig
from octabox.config.parsing import Entry, ParsedConfig, read_models
from octabox.config.problems import Problem, Severity, did_you_mean, file_problem
from octabox.errors import ModelNotFoundError, OctaboxError, nearest
from octabox.hub.folder import CHECKPOINT_SUFFIXES, INDEX_FILES, YAML_SUFFIXES, folder_index, index_file, is_hub_id
from octabox.security.filesystem import existing_path, find_fault


def demo_model() -> ModelConfig:
    """Return the configuration of the embedded model."""
    return ModelConfig(
        name=demo.NAME,
        model=str(demo.FOLDER),
        defaults={"num_inference_steps": 20, "guidance_scale": 3.0},
        description="The embedded model: coloured shapes from a few words, for a first try.",
    )


@dataclass(frozen=True)
class ModelFolder:
    """A snapshot of the models of a folder.

    Args:
        folder: The folder.
        models: The listed models by name; the embedded one alone if the folder has none.
        problems: Problems of the folder.
        parsed_files: Each parsed configuration file.
        entries: The models that have a configuration file, with the locations of their fields.
        default: Model that is available by its name, listed or not.
        refused: The error of each model that is not served, by name; models that cannot be read have none.
        aliases: Other names of the models.
    """

    folder: Path
    models: Mapping[str, ModelConfig]
    problems: tuple[Problem, ...] = ()
    parsed_files: tuple[ParsedConfig, ...] = ()
    entries: tuple[Entry, ...] = ()
    default: ModelConfig = field(default_factory=demo_model)
    refused: Mapping[str, Problem] = field(default_factory=dict)
    aliases: tuple[Alias, ...] = ()

    @cached_property
    def named(self) -> Mapping[str, ModelConfig]:
        """All available models by name and alias, listed or not."""
        named = {self.default.name: self.default, **self.models}
        return named | {alias.name: named[alias.model] for alias in self.aliases if alias.model in named}

    def find(self, name: str) -> ModelConfig:
        """Return the model of this name.

        Raises:
            ModelNotFoundError: There is none; the error includes the problem of its configuration, if it has one.
        """
        named = self.named
        if name in named:
            return named[name]
        similar = nearest(name, named)
        hint = f"Did you mean {' or '.join(similar)}?" if similar else "`octabox list` shows all models."
        errors = [problem for problem in self.problems if problem.file.stem == name and problem.severity == "error"]
        errors = [self.refused[name]] if name in self.refused else errors
        hint = f"Its configuration is invalid: {errors[0]}" if errors else hint
        raise ModelNotFoundError(f"There is no model {name!r}.", hint=hint, model=name, choices=sorted(named))


class ModelRegistry:
    """The current models of a folder, which is read again only after a change. Thread-safe."""

    def __init__(self, folder: Path, default: ModelConfig | None = None) -> None:
        self.folder = folder
        self._default = default or demo_model()
        self._lock = threading.Lock()
        self._fingerprint: object = None
        self._folder_models: ModelFolder | None = None

    def current(self) -> ModelFolder:
        """Return the current models."""
        with self._lock:
            fingerprint = _fingerprint(self.folder)
            if self._folder_models is None or fingerprint != self._fingerprint:
                self._folder_models, self._fingerprint = discover(self.folder, self._default), fingerprint
            return self._folder_models


def discover(folder: Path, default: ModelConfig | None = None) -> ModelFolder:
    """Find the models of a folder; errors become problems and do not affect other models.

    A configuration file takes precedence over a folder or a checkpoint: sources that it refers to are not listed again.
    """
    search = _Search(folder)
    search.run()
    default = default or demo_model()
    models = search.models or {default.name: default}
    files = {default.name: None} | {name: config.path for name, config in search.models.items()}
    aliases, problems = resolve_aliases(search.aliases, files)
    return ModelFolder(
        folder,
        models,
        (*search.problems, *problems),
        tuple(search.parsed_files),
        tuple(search.entries.values()),
        default,
        aliases=tuple(aliases),
    )


def describe_emptiness(folder: Path) -> str:
    """Return why a models folder has no models, as a clause: it has none, or does not exist."""
    return f"There is no model in '{folder}'" if folder.is_dir() else f"The models folder '{folder}' does not exist"


def resolve_sources(entry: Entry, folder: Path) -> tuple[Entry, list[Problem]]:
    """Make the sources of a configuration absolute; a path in the models folder takes precedence over a Hub id."""
    config, problems = entry.config, []
    if config.stages:
        return entry, []  # Its stages may be names of models, which are not all known yet.
    model = _resolve_source(config.model, folder)
    if not os.path.exists(model) and not is_hub_id(model):  # noqa: PTH110 (pathlib raises on odd paths)
        hint = did_you_mean(config.model, _names(folder)) or "put it there, or use a Hub id such as owner/name"
        problem = entry.problem(("model",), f"There is no {config.model!r} in the models folder.", hint)
        problems.append(problem)
    components = {
        name: tuple(_resolve_component(part, folder) for part in parts)
        if isinstance(parts, tuple)
        else _resolve_component(parts, folder)
        for name, parts in config.components.items()
    }
    adapters = tuple(lora.model_copy(update={"lora": _resolve_source(lora.lora, folder)}) for lora in config.adapters)
    ip_adapters = tuple(
        each.model_copy(update={"model": _resolve_source(each.model, folder)}) for each in config.ip_adapters
    )
    trusted = tuple(
        code.model_copy(
            update={"repo": code.repo if code.repo == MODEL_REPOSITORY else _resolve_source(code.repo, folder)}
        )
        for code in config.allow_remote_code
    )
    update = {
        "model": model,
        "allow_remote_code": trusted,
        "config": _resolve_source(config.config, folder) if config.config else None,
        "components": components,
        "adapters": adapters,
        "ip_adapters": ip_adapters,
    }
    return Entry(config.model_copy(update=update), entry.file, entry.locations), problems


def _resolve_component(part: ComponentConfig, folder: Path) -> ComponentConfig:
    """Make the source of a component absolute."""
    return part.model_copy(update={"model": _resolve_source(part.model, folder)}) if part.model else part


class _Search:
    """A search of a folder for models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, ModelConfig] = {}
        self.entries: dict[str, Entry] = {}
        self.aliases: list[Alias] = []
        self.problems: list[Problem] = []
        self.parsed_files: list[ParsedConfig] = []

    def run(self) -> None:
        """Add the configuration files first, since they take precedence over the sources they refer to."""
        paths = self.paths()
        for path in paths:
            if path.suffix.lower() in YAML_SUFFIXES:
                self.add_configuration(path)
        mentioned = {os.path.realpath(source) for config in self.models.values() for source in sources_of(config)}
        for path in paths:
            if os.path.realpath(path) in mentioned:
                continue
            if path.is_dir() and index_file(path):
                self.add_folder(path)
            elif path.is_file() and path.suffix.lower() in CHECKPOINT_SUFFIXES:
                self.add_weights(path, path.stem)

    def paths(self) -> list[Path]:
        """Return the readable files and folders in the folder, sorted by name; all others are problems."""
        paths: list[Path] = []
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            reason = find_fault(self.folder) or "It is a file, not a folder."
            self.problems.append(file_problem(self.folder, reason, "set the folder of models with --models"))
        for name in _names(self.folder):
            path = self.folder / name
            suffix = path.suffix.lower()
            is_file = suffix in YAML_SUFFIXES or (suffix in CHECKPOINT_SUFFIXES and not index_file(path))
            fault = find_fault(path, folders=not is_file)
            if fault is None:
                paths.append(path)
            else:
                severity: Severity = "error" if is_file or path.is_symlink() else "warning"
                self.problems.append(file_problem(path, fault, "fix or remove it", severity))
        return paths

    def add_configuration(self, path: Path) -> None:
        """Add the models of a configuration file."""
        parsed = read_models(path)
        self.parsed_files.append(parsed)
        self.problems += parsed.problems
        self.aliases += parsed.aliases
        for entry in parsed.entries:
            resolved, problems = resolve_sources(entry, self.folder)
            self.problems += problems
            first = self.entries.get(entry.config.name)
            if first is None:
                self.entries[entry.config.name] = resolved
                self.models[entry.config.name] = resolved.config
                self.aliases += entry.aliases()
                continue
            name = f"The name {entry.config.name!r}"
            message = f"{name} is used by {first.file.name}; this model is not served."
            self.problems.append(entry.problem(("name",), message, "choose another name"))
            message = f"{name} is used by {path.name} too; this model has it."
            self.problems.append(first.problem(("name",), message, severity="warning"))

    def add_folder(self, path: Path) -> None:
        """Add a folder in diffusers' format."""
        try:
            folder_index(path)
        except OctaboxError as error:
            self.problems.append(file_problem(path, error.message, error.hint))
        else:
            self.add_weights(path, path.name)

    def add_weights(self, path: Path, name: str) -> None:
        """Add a model that has no configuration."""
        if name in self.models or name in names_of(self.aliases):
            hint = "rename one of the two, or write a configuration for it"
            message = f"The name {name!r} is used by another model; this one is not served."
            self.problems.append(file_problem(path, message, hint, "warning"))
            return
        try:
            self.models[name] = ModelConfig(name=name, model=str(path.absolute()))
        except ValidationError:
            self.problems.append(file_problem(path, f"{name!r} cannot be the name of a model.", "rename it"))


def _names(folder: Path) -> list[str]:
    """Return the names in a folder without hidden ones; none if it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 (names are enough)
    except OSError:
        return []


def _resolve_source(source: str, folder: Path) -> str:
    """Return the absolute path of a source in the models folder; a Hub id is kept unless there is such a path."""
    if path := existing_path(source, folder):
        return str(path)
    if is_hub_id(source):
        return source
    return os.path.abspath(folder / os.path.expanduser(source))  # noqa: PTH100, PTH111 (pathlib raises on odd paths)


def sources_of(config: ModelConfig) -> Iterable[str]:
    """Yield all sources that a configuration refers to."""
    yield config.model
    yield from filter(None, [config.config])
    yield from (part.model for _, part in config.parts() if part.model)
    yield from (lora.lora for lora in config.adapters)
    yield from (each.model for each in config.ip_adapters)


def _fingerprint(folder: Path) -> object:
    """Return a value that changes with any change in the folder, without opening a file."""
    stamps: list[tuple[str | int, ...]] = []
    for name in _names(folder):
        if _stamp(path := os.path.join(folder, name), stamps):  # noqa: PTH118 (each request walks through all files)
            for index in INDEX_FILES:
                _stamp(os.path.join(path, index), stamps)  # noqa: PTH118 (likewise)
    return stamps


def _stamp(path: str, stamps: list[tuple[str | int, ...]]) -> bool:
    """Add what changes with a file or a folder, if it is there; return whether it is a folder."""
    try:
        status = os.stat(path)  # noqa: PTH116 (each request walks through all files)
    except OSError:
        return False
    stamps.append((path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return stat.S_ISDIR(status.st_mode)
