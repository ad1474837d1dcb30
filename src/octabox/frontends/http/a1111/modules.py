"""The VAE and the text encoders by the names of the web UI: those that configurations have in place of a model's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octabox.catalog.conditions.control import control_inputs
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.errors import OctaboxError
from octabox.hub.folder import CHECKPOINT_SUFFIXES
from octabox.service.planning import AUTOENCODER
from octabox.service.protocols import Models
from octabox.service.served_model import ServedModel

#: Values of fields for the modules of the model itself.
OWN = frozenset({"", "automatic", "none", "built in", "use same choices"})


@dataclass(frozen=True)
class Module:
    """A component that a configuration has in place of the model's own.

    Args:
        name: Its name: that of its file or folder.
        source: Its source, as in the configuration.
        is_vae: Whether it decodes latents.
    """

    name: str
    source: str
    is_vae: bool


def component_sources(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return the names of the components of a configuration that have their own source: those of their files or folders."""
    found = {}
    for name, parts in config.components.items():
        several = parts if isinstance(parts, tuple) else (parts,)
        sources = [_source_name(each) for each in several]
        if all(sources):
            found[name] = tuple(sources)
    return found


def _source_name(part: ComponentConfig) -> str:
    """Return the name of a component's source; empty if that is the source of the model."""
    path = Path(part.model or "")
    return "/".join(filter(None, (path.stem if path.suffix else path.name, part.subfolder)))


def modules_of(served: ServedModel) -> tuple[Module, ...]:
    """Return the modules of a model's configuration: components of its pipeline, without ControlNets."""
    control = control_inputs(served.pipeline).component
    parts = {part.name: part for part in served.pipeline.components if part != control}
    found = []
    for name, (source, *_) in component_sources(served.config).items():
        configured = served.config.components[name]
        if name in parts and isinstance(configured, ComponentConfig):
            is_vae = bool(AUTOENCODER.search(parts[name].annotation))
            found.append(Module(source, configured.model or "", is_vae))
    return tuple(found)


def list_modules(models: Models, *, vae: bool = False) -> list[dict[str, Any]]:
    """Return the modules of all models, each once; with ``vae`` those that decode latents."""
    found = {each.name: each for _, modules in _configured(models) for each in modules if each.is_vae or not vae}
    return [{"model_name": each.name, "filename": each.source} for each in found.values()]


def vae_name(served: ServedModel) -> str | None:
    """Return the name of the VAE of a model's configuration; None for that of the model itself."""
    return next((each.name for each in modules_of(served) if each.is_vae), None)


def requested_modules(values: Iterable[Any]) -> list[str]:
    """Return the names of modules in a field, without those that mean the model's own."""
    return [str(each) for each in values if str(each).strip().casefold() not in OWN]


def model_with(models: Models, model: str, names: Iterable[str]) -> tuple[str, list[str]]:
    """Return the model of the same source whose configuration has these modules, and the names that it does not have.

    That is the model itself if it has them, else the one with the fewest others; without one that has all, the model itself.
    """
    requested = {_key(name): name for name in names}
    known = {name: {_key(each.name) for each in modules} for name, modules in _configured(models)}
    own = known.get(model, set())
    if requested.keys() <= own:
        return model, []
    source = models.get(model).source
    having = [name for name, keys in known.items() if requested.keys() <= keys and models.get(name).source == source]
    if having:
        return min(having, key=lambda name: len(known[name])), []
    return model, [name for key, name in requested.items() if key not in own]


def missing_warning(models: Models, model: str, name: str, field: str) -> str:
    """Return the warning about a module that no configuration of a model has."""
    source = models.get(model).source
    same = {
        each.name for other, modules in _configured(models) if models.get(other).source == source for each in modules
    }
    choices = f"There are {', '.join(sorted(same))}." if same else "Add a model with it among its `components`."
    return f"'{field}' {name[:60]!r} has no effect: no configuration of '{model}' has it. {choices}"


def _configured(models: Models) -> Iterator[tuple[str, tuple[Module, ...]]]:
    """Yield the names of all models with their modules, without those that cannot be resolved, which their use reports."""
    for info in models.list():
        if info.alias_of:
            continue
        try:
            yield info.name, modules_of(models.resolve(info.name))
        except OctaboxError:
            continue


def _key(name: str) -> str:
    """Return the name of a module without its folder and suffix."""
    path = Path(name.strip())
    return (path.stem if path.suffix.lower() in CHECKPOINT_SUFFIXES else path.name).casefold()
