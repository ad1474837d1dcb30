"""Load single components as configured: from another source, in another dtype, with quantized weights."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import GGUFQuantizationConfig, ModelMixin, PipelineQuantizationConfig

from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.component_types import component_class, group_components
from octabox.engine.worker.loading.checks.component_errors import named_component
from octabox.engine.worker.loading.checks.folders import check_component
from octabox.engine.worker.loading.completeness import require_all_tensors
from octabox.engine.worker.loading.controlnets import load_component_list
from octabox.engine.worker.loading.quantization import build_quantization_config
from octabox.engine.worker.placement.dtype import choose_variant, parse_dtype
from octabox.engine.worker.single_files.derived_config import derived_config
from octabox.engine.worker.single_files.pickled_weights import replaced_classes
from octabox.engine.worker.single_files.scaled_weights import scales_applied
from octabox.errors import LoadError, MissingDependencyError
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.component_configs import denoiser_config, find_config, no_config_error, not_from_file_error
from octabox.hub.folder import CHECKPOINT_SUFFIXES, is_hub_id
from octabox.security.json_files import read_json


def load_component(
    config: ModelConfig, name: str, pipeline_class: Any, dtype: torch.dtype, config_source: str
) -> object:
    """Load a component from its configured source, and group a list of components as the pipeline takes them.

    Args:
        config: The model's configuration.
        name: Name of the component.
        pipeline_class: Pipeline class, whose constructor states the component's class.
        dtype: Dtype, if the component sets none.
        config_source: Folder or Hub id with the component's configuration, if the source is a weight file.

    Raises:
        LoadError: The pipeline has no such component, takes no list of it, or it cannot be loaded separately.
    """
    return group_components(pipeline_class, name, load_ungrouped(config, name, pipeline_class, dtype, config_source))


def load_ungrouped(config: ModelConfig, name: str, pipeline_class: Any, dtype: torch.dtype, config_source: str) -> Any:
    """Load a component as `load_component` does, but return a list of components as a list."""

    def load_one(single: ModelConfig) -> object:
        return _load_one(single, name, pipeline_class, dtype, config_source)

    return load_component_list(config, name, pipeline_class, load_one)


def _load_one(config: ModelConfig, name: str, pipeline_class: Any, dtype: torch.dtype, config_source: str) -> object:
    """Load a component that is not a list."""
    source = str(config.part(name).model)
    if Path(source).suffix.lower() in CHECKPOINT_SUFFIXES:
        return load_file(config, name, pipeline_class, dtype, source, config_source)
    cls = component_class(pipeline_class, name)
    if cls is None:
        names = sorted(set(inspect.signature(pipeline_class.__init__).parameters) - {"self"})
        raise LoadError(
            f"Model '{config.name}': the component '{name}' cannot have a source.",
            hint=f"{pipeline_class.__name__} has these components: {', '.join(names)}.",
            model=config.name,
        )
    return load_from_pretrained(config, name, cls, dtype)


def load_from_pretrained(config: ModelConfig, name: str, cls: Any, dtype: torch.dtype) -> object:
    """Load a component of this class, or of the class in its folder's `config.json`, from its configured source."""
    part = config.part(name)
    folder = Path(str(part.model)) / (part.subfolder or "")
    if not folder.exists() and (Path(str(part.model)).exists() or not is_hub_id(str(part.model))):
        hint = f"Set `model` of the component '{name}' to a folder, a file or a Hub id."
        raise LoadError(f"Model '{config.name}': {folder} does not exist.", hint=hint, model=config.name)
    if folder.is_file():
        raise not_from_file_error(config.name, name)
    variant = choose_variant(None, folder, component_dtype(part, dtype))
    check_component(config, name, folder, variant)
    cls = _read_class(folder) or cls
    options: dict[str, Any] = {"subfolder": part.subfolder or ""}
    if issubclass(cls, torch.nn.Module):
        options |= {"dtype": component_dtype(part, dtype), **({"variant": variant} if variant else {})}
    if config.disable_mmap and issubclass(cls, ModelMixin):
        options["disable_mmap"] = True
    if part.quantization:
        options["quantization_config"] = build_quantization_config(config, name, cls, dtype)
    with named_component(config, name, folder):
        return cls.from_pretrained(str(part.model), **options)


def _read_class(folder: Path) -> Any:
    """Return the diffusers class in the `config.json` of a component's folder; None if there is none."""
    try:
        name = read_json(folder / "config.json").get("_class_name")
    except (OSError, ValueError, AttributeError):
        return None
    return import_class(name) if name in load_catalog().metadata.ancestors else None


def load_file(
    config: ModelConfig,
    name: str,
    pipeline_class: Any,
    dtype: torch.dtype,
    file: str,
    config_source: str,
    device: str | None = None,
) -> object:
    """Load a component from a file that holds its weights, possibly among others.

    Args:
        config: The model's configuration.
        name: Name of the component.
        pipeline_class: Pipeline class, whose constructor states the component's class.
        dtype: Dtype, if the component sets none.
        file: Weight file.
        config_source: Folder or Hub id of the complete model; another source has no configuration of the component.
        device: Device to load it on, unless its weights are quantized; None is the host.

    Raises:
        LoadError: Components of its class cannot be loaded from a file, or there is no configuration.
    """
    cls = component_class(pipeline_class, name)
    if not hasattr(cls, "from_single_file"):
        raise not_from_file_error(config.name, name)
    part = config.part(name)
    shapes = read_shapes(Path(file))
    found = find_config(file, config_source, part.subfolder or name)
    control_source = config_source if CONTROL_COMPONENTS.search(name) and not found else ""
    options: dict[str, Any] = {"dtype": component_dtype(part, dtype)}
    if config.disable_mmap:
        options["disable_mmap"] = True
    if file.lower().endswith(".gguf"):
        options["quantization_config"] = _gguf_config(config, options["dtype"])
    elif part.quantization:
        options["quantization_config"] = build_quantization_config(config, name, cls, dtype)
    if device is not None and "quantization_config" not in options:
        options["device"] = torch.device(device)
    with (
        derived_config(cls, shapes, denoiser_config(control_source)) as derived,
        named_component(config, name, file),
        require_all_tensors(config.name, file),
        replaced_classes(file),
        scales_applied(file, options["dtype"]),
    ):
        if not (found := found or derived):
            raise no_config_error(config.name, name, file)
        return cls.from_single_file(file, **options, **found)


def check_packed_weights(config: ModelConfig, device: str) -> None:
    """Check that GGUF weights, which stay packed, are not to be moved tensor by tensor.

    Raises:
        LoadError: A GGUF file is to be offloaded sequentially.
    """
    sources = {"model": config.model, **{f"components.{name}": part.model or "" for name, part in config.parts()}}
    packed = [key for key, source in sources.items() if source.lower().endswith(".gguf")]
    if device != "cpu" and config.memory == "sequential_cpu_offload" and packed:
        raise LoadError(
            f"Model '{config.name}': `memory: {config.memory}` cannot move the weights of a GGUF file (`{packed[0]}`), "
            "which stay packed.",
            hint="Set `memory: model_cpu_offload`.",
            model=config.name,
        )


def _gguf_config(config: ModelConfig, dtype: torch.dtype) -> GGUFQuantizationConfig:
    """Return the quantization of a GGUF file: weights stay packed in memory and are dequantized when used."""
    if find_spec("gguf") is None:
        message = f"Model '{config.name}': a GGUF file needs the package gguf."
        raise MissingDependencyError(message, hint="Install it: pip install gguf", model=config.name)
    return GGUFQuantizationConfig(compute_dtype=dtype)


def component_dtype(part: ComponentConfig, dtype: torch.dtype) -> torch.dtype:
    """Return a component's dtype, or the model's if it sets none."""
    return dtype if part.dtype in (None, "auto") else parse_dtype(str(part.dtype))


def component_dtypes(config: ModelConfig, dtype: torch.dtype) -> torch.dtype | dict[str, torch.dtype]:
    """Return the `dtype` argument of `from_pretrained` for the components that come with the model."""
    overrides = {name: component_dtype(part, dtype) for name, part in config.parts() if not part.model}
    return {"default": dtype, **overrides} if overrides else dtype


def pipeline_quantization(
    config: ModelConfig, pipeline_class: Any, dtype: torch.dtype
) -> PipelineQuantizationConfig | None:
    """Return the quantization of the components that come with the model; None if none is configured."""
    names = [name for name, part in config.parts() if part.quantization and not part.model]
    mapping = {
        name: build_quantization_config(config, name, component_class(pipeline_class, name), dtype) for name in names
    }
    return PipelineQuantizationConfig(quant_mapping=mapping) if mapping else None
