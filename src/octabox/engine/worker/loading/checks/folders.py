"""Check the files of a model before its weights are read, so that an error names the component and the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from octabox.catalog.components.faults import component_in, find_component_faults, indexed_components
from octabox.catalog.components.modular import find_modular_faults
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.sources.requests import is_remote
from octabox.engine.worker.placement.dtype import choose_variant
from octabox.errors import IncompatibleWeightsError, LoadError, RemoteCodeError
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.component_files import FileFault, IndexedComponent, find_file_faults, find_missing_folders
from octabox.hub.component_widths import find_channel_faults
from octabox.hub.folder import folder_index, index_components, index_file, is_hub_id
from octabox.hub.limits import check_model_files


def check_limits(config: ModelConfig) -> None:
    """Check the sizes of the files of a model, of its components and of its IP-Adapters that libraries read as a whole.

    Raises:
        IncompatibleWeightsError: One exceeds a limit.
    """
    sources = [config.model, config.config, *(part.model for _, part in config.parts())]
    sources += [part.model for part in config.ip_adapters]
    for source in dict.fromkeys(source for source in sources if source):
        check_model_files(str(_local_copy(source, config.revision)))


def _local_copy(source: str, revision: str | None) -> Path:
    """Return a source, or the folder in the cache of a Hub id, by which models with custom code are loaded."""
    repo = CachedRepo(source)
    commit = repo.commit(revision) if is_remote(source) else None
    return repo.snapshot(commit) if commit else Path(source)


def check_model_folder(config: ModelConfig, entry: PipelineEntry, pipeline_class: Any, dtype: torch.dtype) -> None:
    """Check that a folder has all components that its index names and that the class requires, with all their files.

    Args:
        config: The model's configuration.
        entry: Its pipeline class.
        pipeline_class: The imported class.
        dtype: Dtype of the weights, for the variant that is loaded.

    Raises:
        LoadError: Components or their files are missing, damaged or of another class.
    """
    folder = Path(config.model)
    if not folder.exists() and not is_hub_id(config.model):
        hint = "Set `model` to a folder, a file or a Hub id."
        raise LoadError(f"Model '{config.name}': {folder} does not exist.", hint=hint, model=config.name)
    if entry.modular or index_file(folder) is None:
        return
    index = index_components(folder_index(folder))
    configured = {name for name, part in config.parts() if part.model or part.omit}
    # Others have a default in the constructor, and diffusers neither saves nor loads them.
    loaded, _ = pipeline_class._get_signature_keys(pipeline_class)  # noqa: SLF001 (what `from_pretrained` loads)
    ancestors = load_catalog().metadata.ancestors
    parts = sorted(indexed_components(index, {*loaded} - configured, ancestors), key=lambda each: each.name)
    optional = {part.name for part in parts} - entry.required_components
    raise_faults(config, list(find_missing_folders(folder, parts, optional)), LoadError)
    _check_required(config, entry, {*index, *configured}, folder)
    raise_faults(config, list(find_channel_faults(folder, [part.name for part in parts])))
    places = [(part, folder / part.name) for part in parts]
    check_places(config, places, choose_variant(config.variant, config.model, dtype))


def _check_required(config: ModelConfig, entry: PipelineEntry, found: Iterable[str], folder: Path) -> None:
    """Check that the configuration leaves out no component that a class requires, and that the others have a source.

    Raises:
        LoadError: It does, or some have none.
    """
    omitted = sorted(entry.required_components & {*config.omitted()})
    if omitted:
        raise LoadError(
            f"Model '{config.name}': {entry.name} needs {', '.join(omitted)}, which the configuration leaves out.",
            hint=f"Remove `{omitted[0]}: null` under `components`.",
            model=config.name,
        )
    required = sorted(entry.required_components - {*found})
    if required:
        raise LoadError(
            f"Model '{config.name}': {entry.name} needs {', '.join(required)}, which {folder} does not have.",
            hint=f"Write into its configuration: components: {{{required[0]}: {{model: a folder or Hub id}}}}.",
            model=config.name,
        )


def check_config_folder(config: ModelConfig, pipeline_class: Any, part: str, dtype: torch.dtype) -> None:
    """Check the files of the components that complete a single file with a denoiser.

    Args:
        config: The model's configuration, whose `config` names the folder; a Hub id is not checked.
        pipeline_class: The pipeline class.
        part: Name of the denoiser.
        dtype: Dtype of the weights, for the variant that is loaded.

    Raises:
        IncompatibleWeightsError: Files are missing, damaged or of another class.
    """
    folder = Path(str(config.config))
    places = [(each, folder / each.name) for each in _completing(config, pipeline_class) if each.name != part]
    check_places(config, places, choose_variant(config.variant, str(folder), dtype))


def check_configurations(config: ModelConfig, pipeline_class: Any) -> None:
    """Check the configurations of the components whose weights are those of a single file.

    Args:
        config: The model's configuration, whose `config` names the folder; a Hub id is not checked.
        pipeline_class: The pipeline class.

    Raises:
        IncompatibleWeightsError: Some are missing or damaged.
    """
    folder = Path(str(config.config))
    parts = _completing(config, pipeline_class)
    required = [each for each in parts if each.name not in pipeline_class._optional_components]  # noqa: SLF001 (has no other name)
    faults = [*find_missing_folders(folder, required, ())]
    for part in parts:
        if (place := folder / part.name).is_dir():
            faults += find_file_faults(place, part, weights=False)
    raise_faults(config, faults)


def _completing(config: ModelConfig, pipeline_class: Any) -> list[IndexedComponent]:
    """Return the components of the folder that completes a single file, but those with their own source."""
    folder = Path(str(config.config))
    if index_file(folder) is None:
        return []
    loaded, _ = pipeline_class._get_signature_keys(pipeline_class)  # noqa: SLF001 (what `from_pretrained` loads)
    names = {*loaded} - {name for name, each in config.parts() if each.model or each.omit}
    return list(indexed_components(index_components(folder_index(folder)), names, load_catalog().metadata.ancestors))


def check_component(config: ModelConfig, name: str, folder: Path, variant: str | None = None) -> None:
    """Check the files of a component that has its own source.

    Args:
        config: The model's configuration.
        name: Name of the component.
        folder: Its folder; a Hub id is not checked.
        variant: Variant of its weights that is loaded.

    Raises:
        IncompatibleWeightsError: Files are missing or damaged.
    """
    ancestors = load_catalog().metadata.ancestors
    check_places(config, [(component_in(folder, name, ancestors), folder)], variant)


def check_modular_folder(config: ModelConfig) -> None:
    """Check the files of the components that the index of a modular model names on this machine.

    Raises:
        IncompatibleWeightsError: Files are missing, damaged or of another class.
    """
    folder = Path(config.model)
    if index_file(folder) is None:
        return
    ancestors = load_catalog().metadata.ancestors
    faults = find_modular_faults(folder, folder_index(folder), ancestors, config.variant, config.components)
    raise_faults(config, list(faults))


def component_of_class(name: str, cls: Any) -> IndexedComponent:
    """Return a component of an imported class; of something else, without a class."""
    if not isinstance(cls, type):
        return IndexedComponent(name, "", "")
    return IndexedComponent(
        name, cls.__module__.partition(".")[0], cls.__name__, [each.__name__ for each in cls.__mro__[1:]]
    )


def check_places(
    config: ModelConfig, places: Iterable[tuple[IndexedComponent, Path]], variant: str | None = None
) -> None:
    """Check the files of components by their folders.

    Raises:
        IncompatibleWeightsError: Files are missing, damaged or of another class.
    """
    ancestors = load_catalog().metadata.ancestors
    raise_faults(config, list(find_component_faults(places, ancestors, variant)))


def raise_faults(
    config: ModelConfig, faults: Sequence[FileFault], kind: type[LoadError] = IncompatibleWeightsError
) -> None:
    """Raise one error for all faults of a model, if there are any.

    Raises:
        LoadError: There are faults; of the given class, or a `RemoteCodeError` if one would run code.
    """
    if not faults:
        return
    names = {fault.component for fault in faults}
    about = f": {faults[0].component}" if len(names) == 1 else ""
    message = f"Model '{config.name}'{about}: {' '.join(fault.message for fault in faults)}"
    hint = (
        f"{faults[0].hint[:1].upper()}{faults[0].hint[1:].rstrip('.?')}{'?' if faults[0].hint.endswith('?') else '.'}"
    )
    kind = RemoteCodeError if any(fault.runs_code for fault in faults) else kind
    raise kind(message, hint=hint, model=config.name)
