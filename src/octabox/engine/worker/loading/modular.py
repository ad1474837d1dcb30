"""Load a pipeline that is built of blocks: its index says of each component where it comes from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin

from octabox.config.model import ModelConfig
from octabox.engine.worker.library_logging import capture_library_warnings
from octabox.engine.worker.loading.components import component_dtypes, load_kind
from octabox.engine.worker.loading.controlnets import load_component_list
from octabox.engine.worker.loading.direct import MODELS, loads_direct
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.engine.worker.placement.dtype import choose_variant
from octabox.errors import LoadError


def load_modular(config: ModelConfig, kind: Any, dtype: torch.dtype, device: str) -> Any:
    """Load a modular pipeline with all its components.

    Args:
        config: The model's configuration.
        kind: Pipeline class.
        dtype: Type of numbers, where a component has none of its own.
        device: Where it is to run.

    Raises:
        LoadError: A component cannot be loaded.
    """
    trusted = may_run_code(config, config.model)
    revision = {"revision": config.revision} if config.revision else {}
    pipe = kind.from_pretrained(config.model, trust_remote_code=trusted, **revision)
    _stay_inside(pipe, Path(config.model))
    own = dict.fromkeys(name for name, part in config.parts() if part.model)
    for name in own:
        if name not in pipe.component_names:
            hint = f"{kind.__name__} has these components: {', '.join(pipe.component_names)}."
            raise LoadError(f"Model '{config.name}': there is no component '{name}'.", hint=hint, model=config.name)
    pipe.update_components(
        **{name: load_component_list(config, name, kind, partial(_load, pipe, name, dtype)) for name in own}
    )
    with capture_library_warnings() as said:
        pipe.load_components(dtype=component_dtypes(config, dtype), **_options(pipe, config, dtype, device))
    if failed := [name for name in _named(pipe) if getattr(pipe, name, None) is None]:
        # diffusers goes on without what it could not load, and prints a traceback whose last line says why.
        why = " ".join(said).strip().splitlines()[-1:] or ["no reason was given"]
        raise LoadError(
            f"Model '{config.name}': {', '.join(failed)} could not be loaded: {why[0]}",
            hint="Is the folder complete? `modular_model_index.json` says where each component lies.",
            model=config.name,
        )
    return pipe


def _options(pipe: Any, config: ModelConfig, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Return how components are read, each by name: which variant of the files, how, and whether straight onto the device."""
    kinds = {name: kind for name in _named(pipe) if isinstance(kind := pipe.get_component_spec(name).type_hint, type)}
    folders = {name: Path(config.model) / name for name in _named(pipe)}
    variants = {name: choose_variant(None, folder, dtype) for name, folder in folders.items()}
    placed = [name for name, kind in kinds.items() if loads_direct(config, device) and issubclass(kind, MODELS)]
    read = [name for name, kind in kinds.items() if config.disable_mmap and issubclass(kind, ModelMixin)]
    options = {
        "variant": config.variant or {name: variant for name, variant in variants.items() if variant},
        "device_map": {name: {"": torch.device(device)} for name in placed},
        "disable_mmap": dict.fromkeys(read, True),
    }
    return {name: value for name, value in options.items() if value}


def _load(pipe: Any, name: str, dtype: torch.dtype, config: ModelConfig) -> object:
    """Load a component of the class that a pipeline states."""
    return load_kind(config, name, pipe.get_component_spec(name).type_hint, dtype)


def _named(pipe: Any) -> list[str]:
    """Return the components that a pipeline's index has a place for."""
    return [name for name in pipe.pretrained_component_names if _spec(pipe, name).pretrained_model_name_or_path]


def _stay_inside(pipe: Any, folder: Path) -> None:
    """Let the components of a folder that was moved be found where it is now: its index holds the old place."""
    for name in _named(pipe):
        spec = _spec(pipe, name)
        place = Path(str(spec.pretrained_model_name_or_path))
        if (folder / name).is_dir() and place.is_absolute() and not place.is_dir():
            spec.pretrained_model_name_or_path = str(folder)


def _spec(pipe: Any, name: str) -> Any:
    """Return where a component comes from; what diffusers gives out itself is only a copy."""
    return pipe._component_specs[name]  # noqa: SLF001
