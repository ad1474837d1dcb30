"""Load what a configuration says of single components: another source, another dtype, quantized weights."""

from __future__ import annotations

import inspect
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import GGUFQuantizationConfig, ModelMixin, PipelineQuantizationConfig

from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.component_types import component_class, group_components
from octabox.engine.worker.loading.controlnets import load_component_list
from octabox.engine.worker.loading.quantization import quantization
from octabox.engine.worker.placement.dtype import choose_variant
from octabox.errors import LoadError, MissingDependencyError
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.folder import CHECKPOINT_SUFFIXES


def load_component(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype, built: str) -> object:
    """Load a component from the source that the configuration gives it; several of a list as the pipeline takes them.

    Args:
        config: The model's configuration.
        name: The component.
        kind: Pipeline class, whose constructor says of which class the component is.
        dtype: Type of numbers, where the component has none of its own.
        built: Folder or Hub id that says how the components are built, for a source that is a file of weights.

    Raises:
        LoadError: The pipeline has no such component, takes one alone, or has one that cannot be loaded alone.
    """
    return group_components(kind, name, load_parts(config, name, kind, dtype, built))


def load_parts(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype, built: str) -> Any:
    """Load a component as `load_component` does, and leave several of a list as they are."""
    return load_component_list(config, name, kind, lambda single: _load_one(single, name, kind, dtype, built))


def _load_one(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype, built: str) -> object:
    """Load a component that is no list."""
    source = str(config.part(name).model)
    if Path(source).suffix.lower() in CHECKPOINT_SUFFIXES:
        return load_file(config, name, kind, dtype, source, built)
    own = component_class(kind, name)
    if own is None:
        parts = sorted(set(inspect.signature(kind.__init__).parameters) - {"self"})
        raise LoadError(
            f"Model '{config.name}': '{name}' cannot be given a source of its own.",
            hint=f"{kind.__name__} has these components: {', '.join(parts)}.",
            model=config.name,
        )
    return load_kind(config, name, own, dtype)


def load_kind(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype) -> object:
    """Load a component of this class, or of the one that its own folder names, from where the configuration says."""
    part = config.part(name)
    folder = Path(str(part.model)) / (part.subfolder or "")
    kind = _stated_class(folder) or kind
    options: dict[str, Any] = {"subfolder": part.subfolder or ""}
    if issubclass(kind, torch.nn.Module):
        options["dtype"] = component_dtype(part, dtype)
        if variant := choose_variant(None, folder, options["dtype"]):
            options["variant"] = variant
    if config.disable_mmap and issubclass(kind, ModelMixin):
        options["disable_mmap"] = True
    if part.quantization:
        options["quantization_config"] = quantization(config, name, kind, dtype)
    return kind.from_pretrained(str(part.model), **options)


def _stated_class(folder: Path) -> Any:
    """Return the class of diffusers that a component's folder names; None where it names none."""
    try:
        stated = json.loads((folder / "config.json").read_bytes()).get("_class_name")
    except (OSError, ValueError, AttributeError):
        return None
    return import_class(stated) if stated in load_catalog().metadata.ancestors else None


def load_file(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype, file: str, built: str) -> object:
    """Load a component from a file that holds its weights, alone or among others.

    Args:
        config: The model's configuration.
        name: The component.
        kind: Pipeline class, whose constructor says of which class the component is.
        dtype: Type of numbers, where the component has none of its own.
        file: The file.
        built: Folder or Hub id that says how the components are built.

    Raises:
        LoadError: Components of its class cannot be loaded from a file.
    """
    own = component_class(kind, name)
    if not hasattr(own, "from_single_file"):
        raise LoadError(
            f"Model '{config.name}': the component '{name}' cannot be loaded from a single file.",
            hint="Give it a folder or a Hub id, or leave out its `quantization`.",
            model=config.name,
        )
    part = config.part(name)
    read_shapes(Path(file))
    options: dict[str, Any] = {"dtype": component_dtype(part, dtype)}
    if config.disable_mmap:
        options["disable_mmap"] = True
    if file.lower().endswith(".gguf"):
        options["quantization_config"] = _gguf(config, options["dtype"])
    elif part.quantization:
        options["quantization_config"] = quantization(config, name, own, dtype)
    beside, inside = Path(file).with_name("config.json"), part.subfolder or name
    if beside.is_file():
        options |= {"config": str(beside.parent)}
    elif not Path(built).is_dir() or (Path(built) / inside).is_dir():
        options |= {"config": built, "subfolder": inside}
    return own.from_single_file(file, **options)


def check_packed_weights(config: ModelConfig, device: str) -> None:
    """Make sure that weights which stay packed are not to be moved tensor by tensor, which only plain ones can be.

    Raises:
        LoadError: A file in the format GGUF is to be offloaded sequentially.
    """
    sources = {"model": config.model, **{f"components.{name}": part.model or "" for name, part in config.parts()}}
    packed = [key for key, source in sources.items() if source.lower().endswith(".gguf")]
    if device != "cpu" and config.memory == "sequential_cpu_offload" and packed:
        raise LoadError(
            f"Model '{config.name}': `memory: {config.memory}` cannot move the weights of a file in the format GGUF "
            f"(`{packed[0]}`): they stay packed.",
            hint="Set `memory: model_cpu_offload`.",
            model=config.name,
        )


def _gguf(config: ModelConfig, dtype: torch.dtype) -> GGUFQuantizationConfig:
    """Return how a file in the format GGUF is computed with: its numbers stay as they are, and are unpacked when used."""
    if find_spec("gguf") is None:
        message = f"Model '{config.name}': a file in the format GGUF needs the package gguf."
        raise MissingDependencyError(message, hint="Install it: pip install gguf", model=config.name)
    return GGUFQuantizationConfig(compute_dtype=dtype)


def component_dtype(part: ComponentConfig, dtype: torch.dtype) -> torch.dtype:
    """Return a component's dtype; the model's where it has none of its own."""
    if part.dtype in (None, "auto"):
        return dtype
    own = getattr(torch, str(part.dtype))
    assert isinstance(own, torch.dtype)  # noqa: S101 (the configuration takes these names alone)
    return own


def component_dtypes(config: ModelConfig, dtype: torch.dtype) -> torch.dtype | dict[str, torch.dtype]:
    """Return the dtype for all components that come with the model, as diffusers takes it."""
    differing = {name: component_dtype(part, dtype) for name, part in config.parts() if not part.model}
    return {"default": dtype, **differing} if differing else dtype


def pipeline_quantization(config: ModelConfig, kind: Any, dtype: torch.dtype) -> PipelineQuantizationConfig | None:
    """Return how components that come with the model are to be quantized; None where nothing was asked for."""
    wanted = [name for name, part in config.parts() if part.quantization and not part.model]
    mapping = {name: quantization(config, name, component_class(kind, name), dtype) for name in wanted}
    return PipelineQuantizationConfig(quant_mapping=mapping) if mapping else None
