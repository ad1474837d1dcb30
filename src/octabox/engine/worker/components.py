"""Load what a configuration says of single components: another source, another type of numbers, quantized weights."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from diffusers import PipelineQuantizationConfig
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as DIFFUSERS_BACKENDS
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as TRANSFORMERS_BACKENDS

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.errors import LoadError
from octabox.hub.folder import CHECKPOINT_SUFFIXES

#: Endings of files that hold a whole model, or all weights of one component.
CHECKPOINTS = (".safetensors", ".ckpt", ".gguf")


def load_component(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype) -> object:
    """Load a component from the source that the configuration gives it.

    Args:
        config: The model's configuration.
        name: The component.
        kind: Pipeline class, whose constructor says of which class the component is.
        dtype: Type of numbers, where the component has none of its own.

    Raises:
        LoadError: The pipeline has no such component, or one that cannot be loaded alone.
    """
    part = config.components[name]
    annotation: Any = inspect.get_annotations(kind.__init__, eval_str=True).get(name)
    if not hasattr(annotation, "from_pretrained"):
        parts = sorted(set(inspect.signature(kind.__init__).parameters) - {"self"})
        raise LoadError(
            f"Model '{config.name}': '{name}' cannot be given a source of its own.",
            hint=f"{kind.__name__} has these components: {', '.join(parts)}.",
            model=config.name,
        )
    options: dict[str, Any] = {"dtype": component_dtype(part, dtype)}
    if part.quantization:
        options["quantization_config"] = _quantization(config, name, annotation)
    source = str(part.model)
    if Path(source).suffix.lower() in CHECKPOINTS:
        # The file has weights alone; how the component is built stands with the model that it becomes a part of.
        return annotation.from_single_file(source, config=config.model, subfolder=part.subfolder or name, **options)
    return annotation.from_pretrained(source, subfolder=part.subfolder or "", **options)


def component_dtype(part: ComponentConfig, dtype: torch.dtype) -> torch.dtype:
    """Return a component's type of numbers; the model's where it has none of its own."""
    if part.dtype in (None, "auto"):
        return dtype
    own = getattr(torch, str(part.dtype))
    assert isinstance(own, torch.dtype)  # noqa: S101 (the configuration takes these names alone)
    return own


def component_dtypes(config: ModelConfig, dtype: torch.dtype) -> torch.dtype | dict[str, torch.dtype]:
    """Return the type of numbers for all components that come with the model, as diffusers takes it."""
    differing = {name: component_dtype(part, dtype) for name, part in config.components.items() if not part.model}
    return {"default": dtype, **differing} if differing else dtype


def pipeline_quantization(config: ModelConfig, kind: Any) -> PipelineQuantizationConfig | None:
    """Return how components that come with the model are to be quantized; None where nothing was asked for."""
    annotations = inspect.get_annotations(kind.__init__, eval_str=True)
    wanted = [name for name, part in config.components.items() if part.quantization and not part.model]
    mapping = {name: _quantization(config, name, annotations.get(name)) for name in wanted}
    return PipelineQuantizationConfig(quant_mapping=mapping) if mapping else None


def _quantization(config: ModelConfig, name: str, annotation: Any) -> Any:
    """Return a component's quantization, as the library that its class is of takes it."""
    arguments = dict(config.components[name].quantization or {})
    library = getattr(annotation, "__module__", "").partition(".")[0]
    backends = TRANSFORMERS_BACKENDS if library == "transformers" else DIFFUSERS_BACKENDS
    backend = arguments.pop("quant_backend", None)
    if backend not in backends:
        raise LoadError(
            f"Model '{config.name}', component '{name}': there is no quantization backend '{backend}'.",
            hint="Set `quant_backend` to one of the choices.",
            model=config.name,
            choices=sorted(backends),
        )
    return backends[backend](**arguments)
