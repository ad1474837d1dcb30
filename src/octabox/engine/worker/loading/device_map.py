"""Load a model's components directly on its device, without a copy of all weights in host memory."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from transformers import PreTrainedModel

from octabox.config.model import ModelConfig
from octabox.engine.worker.performance.parallelism import may_shard_weights
from octabox.engine.worker.placement.dtype import choose_variant
from octabox.hub.folder import folder_index, index_components, index_file
from octabox.hub.weights import weight_files

#: Classes whose weights can be loaded on a device.
MODEL_CLASSES = (ModelMixin, PreTrainedModel)


def can_load_on_device(config: ModelConfig, device: str) -> bool:
    """Return whether a model's components can be loaded directly on its device.

    They cannot if they are offloaded later, or if their weights are changed on the host first: by quantization, storage in
    another dtype, LoRAs or IP-Adapters, or since each device gets a part of them.
    """
    changed = any(part.quantization or part.storage for _, part in config.parts()) or may_shard_weights(config.parallel)
    return device != "cpu" and config.memory == "full" and not (changed or config.adapters or config.ip_adapters)


def load_on_device(
    config: ModelConfig,
    dtypes: dict[str, torch.dtype],
    dtype: torch.dtype,
    device: str,
    skipped: Collection[str] = (),
) -> dict[str, torch.nn.Module]:
    """Load the components of a model's folder on a device.

    Args:
        config: The model's configuration.
        dtypes: Dtypes of single components.
        dtype: Dtype of the others.
        device: Device to load on.
        skipped: Components that have another source.

    Returns:
        The components by name, without those that have another source or that only the pipeline can load. Empty for a model
        on the Hub.
    """
    folder = Path(config.model)
    if index_file(folder) is None:
        return {}
    configured_adapters = {name for name, part in config.parts() if part.model}
    loaded: dict[str, torch.nn.Module] = {}
    for name, (library, class_name) in index_components(folder_index(folder)).items():
        subfolder = folder / name
        if name in configured_adapters or name in skipped or not subfolder.is_dir():
            continue
        cls = _model_class(library, class_name)
        if cls is None:
            continue
        component_dtype = dtypes.get(name, dtype)
        options = weight_options(config, subfolder, component_dtype, cls)
        loaded[name] = cls.from_pretrained(
            str(subfolder), dtype=component_dtype, device_map={"": torch.device(device)}, **options
        )
    return loaded


def weight_options(config: ModelConfig, folder: Path, dtype: torch.dtype, cls: Any) -> dict[str, Any]:
    """Return the `from_pretrained` arguments for a component's weight files: variant and memory mapping."""
    options: dict[str, Any] = {}
    # The configured variant may exist for some components only.
    has_variant = config.variant and any(file.variant == config.variant for file in weight_files(folder))
    if variant := config.variant if has_variant else choose_variant(None, folder, dtype):
        options["variant"] = variant
    if config.disable_mmap and issubclass(cls, ModelMixin):
        options["disable_mmap"] = True
    return options


def _model_class(library: str | None, name: str | None) -> Any:
    """Return a component's class if it is a model class of diffusers or transformers, else None.

    Classes of single pipelines, such as safety checkers, are left to the pipeline, which warns about those passed to it.
    """
    if not (name and library in {"diffusers", "transformers"}):
        return None
    cls = getattr(importlib.import_module(library), name, None)
    return cls if isinstance(cls, type) and issubclass(cls, MODEL_CLASSES) else None
