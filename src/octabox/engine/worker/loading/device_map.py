"""Read a model's components straight onto its device: no copy of all weights in host memory, and none in another dtype."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from transformers import PreTrainedModel

from octabox.config.model import ModelConfig
from octabox.engine.worker.placement.dtype import choose_variant
from octabox.hub.folder import folder_index, index_file
from octabox.hub.weights import weight_files

#: Classes whose weights can be read onto a device.
MODELS = (ModelMixin, PreTrainedModel)


def loads_direct(config: ModelConfig, device: str) -> bool:
    """Return whether a model's components can be read onto its device one by one.

    Not where they are to leave it again, or where something is yet to be added to their weights on the host: quantization,
    storage in another dtype, LoRAs and IP-Adapters.
    """
    changed = any(part.quantization or part.storage for _, part in config.parts())
    return device != "cpu" and config.memory == "full" and not (changed or config.adapters or config.ip_adapters)


def load_direct(
    config: ModelConfig, dtypes: dict[str, torch.dtype], dtype: torch.dtype, device: str
) -> dict[str, torch.nn.Module]:
    """Load the components of a model's folder that have no source of their own, each onto the device.

    Args:
        config: The model's configuration.
        dtypes: Dtypes of single components.
        dtype: Dtype of the others.
        device: Where they are to be.

    Returns:
        The components by name; those are left out that only the pipeline's own loader knows, and all of a model on the Hub.
    """
    folder = Path(config.model)
    if index_file(folder) is None:
        return {}
    own = {name for name, part in config.parts() if part.model}
    loaded: dict[str, torch.nn.Module] = {}
    for name, part in folder_index(folder).items():
        place = folder / name
        if name in own or not isinstance(part, list) or len(part) != 2 or not place.is_dir():  # noqa: PLR2004
            continue
        kind = _component_class(*part)
        if kind is None:
            continue
        wanted = dtypes.get(name, dtype)
        options = weight_options(config, place, wanted, kind)
        loaded[name] = kind.from_pretrained(str(place), dtype=wanted, device_map={"": torch.device(device)}, **options)
    return loaded


def weight_options(config: ModelConfig, folder: Path, dtype: torch.dtype, kind: Any) -> dict[str, Any]:
    """Return how a component's files are read: which variant, and whether through a map of the file into memory."""
    options: dict[str, Any] = {}
    # A variant that the configuration names need not be there for each component.
    has_it = config.variant and any(file.variant == config.variant for file in weight_files(folder))
    if variant := config.variant if has_it else choose_variant(None, folder, dtype):
        options["variant"] = variant
    if config.disable_mmap and issubclass(kind, ModelMixin):
        options["disable_mmap"] = True
    return options


def _component_class(library: object, name: object) -> Any:
    """Return a component's class where it is a model of diffusers or transformers; else None.

    Classes of single pipelines, such as safety checkers, are left to the pipeline: it warns of those that are given to it.
    """
    if not (isinstance(library, str) and isinstance(name, str) and library in {"diffusers", "transformers"}):
        return None
    kind = getattr(importlib.import_module(library), name, None)
    return kind if isinstance(kind, type) and issubclass(kind, MODELS) else None
