"""Load a modular pipeline, whose index names the source of each component."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin

from octabox.catalog.components.modular import was_moved
from octabox.config.model import ModelConfig
from octabox.engine.sources.local import local_folder
from octabox.engine.sources.requests import is_remote
from octabox.engine.worker.loading.checks.folders import check_modular_folder, check_places, component_of_class
from octabox.engine.worker.loading.components import component_dtypes, load_from_pretrained
from octabox.engine.worker.loading.controlnets import load_component_list
from octabox.engine.worker.loading.device_map import MODEL_CLASSES, can_load_on_device
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.engine.worker.placement.dtype import choose_variant
from octabox.engine.worker.third_party_logs import capture_warnings
from octabox.errors import LoadError
from octabox.hub.cache_layout import repository_of
from octabox.hub.component_files import IndexedComponent
from octabox.hub.limits import check_model_files
from octabox.hub.pulls.needed import PullRequest


def load_modular(config: ModelConfig, pipeline_class: Any, dtype: torch.dtype, device: str) -> Any:
    """Load a modular pipeline with all its components.

    Args:
        config: The model's configuration.
        pipeline_class: Pipeline class.
        dtype: Dtype of the components that set none.
        device: Device that it runs on.

    Raises:
        LoadError: A component cannot be loaded.
    """
    trusted = may_run_code(config, config.model)
    revision = {"revision": config.revision} if config.revision else {}
    check_modular_folder(config)
    pipe = pipeline_class.from_pretrained(config.model, trust_remote_code=trusted, **revision)
    _update_moved_paths(pipe, Path(config.model))
    _use_local_sources(pipe, config)
    check_places(config, _places(pipe, config), config.variant)
    configured_adapters = dict.fromkeys(name for name, part in config.parts() if part.model)
    for name in configured_adapters:
        if name not in pipe.component_names:
            hint = f"{pipeline_class.__name__} has these components: {', '.join(pipe.component_names)}."
            raise LoadError(f"Model '{config.name}': there is no component '{name}'.", hint=hint, model=config.name)
    pipe.update_components(
        **{
            name: load_component_list(config, name, pipeline_class, partial(_load_component, pipe, name, dtype))
            for name in configured_adapters
        }
    )
    with capture_warnings() as messages:
        pipe.load_components(dtype=component_dtypes(config, dtype), **_load_options(pipe, config, dtype, device))
    if failed := [name for name in _pretrained_names(pipe) if getattr(pipe, name, None) is None]:
        # diffusers only logs a component that fails to load; the last line of the traceback is the reason.
        reason = " ".join(messages).strip().splitlines()[-1:] or ["no reason was given"]
        raise LoadError(
            f"Model '{config.name}': {', '.join(failed)} could not be loaded: {reason[0]}",
            hint="Check that the folder is complete: `modular_model_index.json` names the source of each component.",
            model=config.name,
        )
    return pipe


def _load_options(pipe: Any, config: ModelConfig, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Return the arguments of `load_components` that differ by component: variant, device map and memory mapping."""
    names = _pretrained_names(pipe)
    classes = {name: cls for name in names if isinstance(cls := pipe.get_component_spec(name).type_hint, type)}
    variants = {name: choose_variant(None, Path(config.model) / name, dtype) for name in names}
    on_device = [
        name for name, cls in classes.items() if can_load_on_device(config, device) and issubclass(cls, MODEL_CLASSES)
    ]
    unmapped = [name for name, cls in classes.items() if config.disable_mmap and issubclass(cls, ModelMixin)]
    options = {
        "variant": config.variant or {name: variant for name, variant in variants.items() if variant},
        "device_map": {name: {"": torch.device(device)} for name in on_device},
        "disable_mmap": dict.fromkeys(unmapped, True),
    }
    return {name: value for name, value in options.items() if value}


def _load_component(pipe: Any, name: str, dtype: torch.dtype, config: ModelConfig) -> object:
    """Load a component of the class that the pipeline states."""
    return load_from_pretrained(config, name, pipe.get_component_spec(name).type_hint, dtype)


def _pretrained_names(pipe: Any) -> list[str]:
    """Return the names of the components for which the pipeline's index has a source."""
    return [name for name in pipe.pretrained_component_names if _spec(pipe, name).pretrained_model_name_or_path]


def _update_moved_paths(pipe: Any, folder: Path) -> None:
    """Replace absolute paths in the index that do not exist any more, since the folder was moved."""
    for name in _pretrained_names(pipe):
        spec = _spec(pipe, name)
        if was_moved(folder, name, str(spec.pretrained_model_name_or_path)):
            spec.pretrained_model_name_or_path = str(folder)


def _use_local_sources(pipe: Any, config: ModelConfig) -> None:
    """Replace the Hub ids in the index by folders in the cache, so that diffusers downloads nothing itself."""
    folder = Path(config.model)
    own = repository_of(folder)
    for name in _pretrained_names(pipe):
        spec = _spec(pipe, name)
        source, subfolder = str(spec.pretrained_model_name_or_path), str(spec.subfolder or "").strip("/")
        if name in config.components or not is_remote(source):
            continue
        if own is not None and source == own.repo and (folder / subfolder).is_dir():
            spec.pretrained_model_name_or_path = str(folder)
        else:
            request = PullRequest(source, spec.revision, variant=spec.variant, folders=(subfolder,))
            spec.pretrained_model_name_or_path = str(local_folder(request))
        spec.revision = None


def _places(pipe: Any, config: ModelConfig) -> Iterator[tuple[IndexedComponent, Path]]:
    """Yield the components without a configured source, and their folders, whose files are within the limits.

    Raises:
        IncompatibleWeightsError: A file exceeds a limit.
    """
    for name in _pretrained_names(pipe):
        if name not in config.components:
            spec = _spec(pipe, name)
            source = str(spec.pretrained_model_name_or_path)
            check_model_files(source)
            yield component_of_class(name, spec.type_hint), Path(source) / str(spec.subfolder or "").strip("/")


def _spec(pipe: Any, name: str) -> Any:
    """Return the specification of a component; `get_component_spec` returns only a copy."""
    return pipe._component_specs[name]  # noqa: SLF001
