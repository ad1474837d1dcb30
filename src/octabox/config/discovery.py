"""Find the models in a folder: configuration files, folders as diffusers saves them, and checkpoint files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from octabox import demo
from octabox.config.model import OWN_REPOSITORY, ComponentConfig, ModelConfig
from octabox.config.parsing import Entry, ParsedConfig, read_models
from octabox.config.problems import Problem, did_you_mean, whole_file
from octabox.errors import ModelNotFoundError, OctaboxError, nearest
from octabox.hub.folder import CHECKPOINT_SUFFIXES, INDEX_FILES, folder_index, index_file, is_hub_id

#: Endings of configuration files.
YAML_SUFFIXES = frozenset({".yaml", ".yml"})


def demo_model() -> ModelConfig:
    """Return the embedded model's configuration."""
    return ModelConfig(
        name=demo.NAME,
        model=str(demo.FOLDER),
        defaults={"num_inference_steps": 20, "guidance_scale": 3.0},
        description="The embedded model: coloured shapes from a few words, for a first try.",
    )


@dataclass(frozen=True)
class ModelFolder:
    """The models of a folder at one moment.

    Args:
        folder: The folder.
        models: All models to be listed, by name; the embedded one alone where the folder has none.
        problems: What is wrong in the folder.
        readings: What each configuration file gave.
        entries: The models that have a configuration file, with their places in it.
        default: Model that can be called by its name, listed or not.
    """

    folder: Path
    models: Mapping[str, ModelConfig]
    problems: tuple[Problem, ...] = ()
    readings: tuple[ParsedConfig, ...] = ()
    entries: tuple[Entry, ...] = ()
    default: ModelConfig = field(default_factory=demo_model)

    @property
    def named(self) -> Mapping[str, ModelConfig]:
        """All models that can be called, listed or not."""
        return {self.default.name: self.default, **self.models}

    def find(self, name: str) -> ModelConfig:
        """Return the model of this name.

        Raises:
            ModelNotFoundError: There is none; where its file is wrong, that is said.
        """
        named = self.named
        if name in named:
            return named[name]
        like = nearest(name, named)
        hint = f"Did you mean {' or '.join(like)}?" if like else "`octabox list` shows all models."
        broken = [problem for problem in self.problems if problem.file.stem == name and problem.severity == "error"]
        hint = f"Its configuration is wrong: {broken[0]}" if broken else hint
        raise ModelNotFoundError(f"There is no model {name!r}.", hint=hint, model=name, choices=sorted(named))


class ModelRegistry:
    """The models of a folder as it is now; it is read again only when something in it has changed. Safe for threads."""

    def __init__(self, folder: Path, default: ModelConfig | None = None) -> None:
        self.folder = folder
        self._default = default or demo_model()
        self._lock = threading.Lock()
        self._seen: object = None
        self._shelf: ModelFolder | None = None

    def current(self) -> ModelFolder:
        """Return the models that are there now."""
        with self._lock:
            seen = _listing(self.folder)
            if self._shelf is None or seen != self._seen:
                self._shelf, self._seen = discover(self.folder, self._default), seen
            return self._shelf


def discover(folder: Path, default: ModelConfig | None = None) -> ModelFolder:
    """Read a folder of models; a part that is wrong is among the problems, and keeps nothing else back.

    A configuration file is stronger than a folder or a checkpoint: what it refers to is not listed again.
    """
    search = _Search(folder)
    search.run()
    default = default or demo_model()
    models = search.models or {default.name: default}
    entries = tuple(search.entries.values())
    return ModelFolder(folder, models, tuple(search.problems), tuple(search.readings), entries, default)


def model_of_source(source: str) -> ModelConfig | None:
    """Return a configuration for a Hub id, a folder or a file that none was written for; None for any other text."""
    path = Path(os.path.abspath(os.path.expanduser(source)))  # noqa: PTH100, PTH111 (pathlib raises on odd paths)
    if os.path.exists(path):  # noqa: PTH110 (likewise)
        return ModelConfig(name=path.stem if path.is_file() else path.name, model=str(path))
    return ModelConfig(name=source, model=source) if is_hub_id(source) else None


def place(entry: Entry, folder: Path) -> tuple[Entry, list[Problem]]:
    """Make the paths of a configuration absolute: a file or folder in the models folder is stronger than a Hub id."""
    config, problems = entry.config, []
    model = _located(config.model, folder)
    if not os.path.exists(model) and not is_hub_id(model):  # noqa: PTH110 (pathlib raises on odd paths)
        hint = did_you_mean(config.model, _names(folder)) or "put it there, or give a Hub id like owner/name"
        place_of = entry.problem(("model",), f"There is no {config.model!r} in the models folder yet.", hint, "warning")
        problems.append(place_of)
    components = {
        name: tuple(_placed(part, folder) for part in parts) if isinstance(parts, tuple) else _placed(parts, folder)
        for name, parts in config.components.items()
    }
    adapters = tuple(lora.model_copy(update={"lora": _located(lora.lora, folder)}) for lora in config.adapters)
    ip_adapters = tuple(each.model_copy(update={"model": _located(each.model, folder)}) for each in config.ip_adapters)
    trusted = tuple(
        code.model_copy(update={"repo": code.repo if code.repo == OWN_REPOSITORY else _located(code.repo, folder)})
        for code in config.allow_remote_code
    )
    update = {
        "model": model,
        "allow_remote_code": trusted,
        "config": _located(config.config, folder) if config.config else None,
        "components": components,
        "adapters": adapters,
        "ip_adapters": ip_adapters,
    }
    return Entry(config.model_copy(update=update), entry.file, entry.places), problems


def _placed(part: ComponentConfig, folder: Path) -> ComponentConfig:
    """Make the path of a component's source absolute."""
    return part.model_copy(update={"model": _located(part.model, folder)}) if part.model else part


class _Search:
    """One reading of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, ModelConfig] = {}
        self.entries: dict[str, Entry] = {}
        self.problems: list[Problem] = []
        self.readings: list[ParsedConfig] = []

    def run(self) -> None:
        """Take the configuration files first, since they are stronger than what they are about."""
        paths = self.paths()
        for path in paths:
            if path.suffix.lower() in YAML_SUFFIXES:
                self.add_configuration(path)
        mentioned = {os.path.realpath(source) for config in self.models.values() for source in _sources(config)}
        for path in paths:
            if os.path.realpath(path) in mentioned:
                continue
            if path.is_dir() and index_file(path):
                self.add_folder(path)
            elif path.is_file() and path.suffix.lower() in CHECKPOINT_SUFFIXES:
                self.add_weights(path, path.stem)

    def paths(self) -> list[Path]:
        """Return what stands in the folder, by name; links that lead nowhere are problems."""
        found = []
        for name in _names(self.folder):
            path = self.folder / name
            if os.path.exists(path):  # noqa: PTH110 (pathlib raises on a circle of links)
                found.append(path)
            else:
                self.problems.append(whole_file(path, "The link leads nowhere.", "mend or remove it"))
        return found

    def add_configuration(self, path: Path) -> None:
        """Take the models of a configuration file."""
        reading = read_models(path)
        self.readings.append(reading)
        self.problems += reading.problems
        for entry in reading.entries:
            placed, problems = place(entry, self.folder)
            self.problems += problems
            first = self.entries.get(entry.config.name)
            if first is None:
                self.entries[entry.config.name] = placed
                self.models[entry.config.name] = placed.config
                continue
            name = f"The name {entry.config.name!r}"
            message = f"{name} is taken by {first.file.name}; this model is not served."
            self.problems.append(entry.problem(("name",), message, "choose another name"))
            message = f"{name} is used by {path.name} too, and holds for this model."
            self.problems.append(first.problem(("name",), message, severity="warning"))

    def add_folder(self, path: Path) -> None:
        """Take a folder as diffusers saves it."""
        try:
            folder_index(path)
        except OctaboxError as error:
            self.problems.append(whole_file(path, error.message, error.hint))
        else:
            self.add_weights(path, path.name)

    def add_weights(self, path: Path, name: str) -> None:
        """Take a model that has no configuration."""
        if name in self.models:
            hint = "rename one of the two, or write a configuration for it"
            message = f"The name {name!r} is taken by another model; this one is not served."
            self.problems.append(whole_file(path, message, hint, "warning"))
            return
        try:
            self.models[name] = ModelConfig(name=name, model=str(path.absolute()))
        except ValidationError:
            self.problems.append(whole_file(path, f"{name!r} cannot be the name of a model.", "rename it"))


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, hidden ones left out; none where it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 (names are enough)
    except OSError:
        return []


def _located(source: str, folder: Path) -> str:
    """Return the absolute path of a source in the models folder; a Hub id stays one, unless there is such a file."""
    path = os.path.abspath(folder / os.path.expanduser(source))  # noqa: PTH100, PTH111 (pathlib raises on odd paths)
    return source if not os.path.exists(path) and is_hub_id(source) else path  # noqa: PTH110


def _sources(config: ModelConfig) -> Iterable[str]:
    """Return all sources that a configuration refers to."""
    yield config.model
    yield from filter(None, [config.config])
    yield from (part.model for _, part in config.parts() if part.model)
    yield from (lora.lora for lora in config.adapters)
    yield from (each.model for each in config.ip_adapters)


def _listing(folder: Path) -> object:
    """Return something that differs when anything in the folder has changed; nothing is opened for it."""
    seen = []
    for name in _names(folder):
        for path in (folder / name, *(folder / name / index for index in INDEX_FILES)):
            try:
                stat = path.stat()
            except OSError:
                continue
            seen.append((str(path), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino))
    return seen
