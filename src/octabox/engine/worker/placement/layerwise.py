"""Keep the weights of components small between uses; each layer is brought into its own dtype when it is at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.hooks import apply_layerwise_casting
from diffusers.hooks.layerwise_casting import _LAYERWISE_CASTING_HOOK, DEFAULT_SKIP_MODULES_PATTERN

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.component_types import unpack_components
from octabox.errors import LoadError

#: Attributes by which classes name the layers that must not lose precision.
KEPT = ("_keep_in_fp32_modules", "_skip_layerwise_casting_patterns")


def apply_storage(config: ModelConfig, components: Mapping[str, object]) -> None:
    """Keep the components small for which the configuration says so.

    Args:
        config: The model's configuration.
        components: All components by name.

    Raises:
        LoadError: One has no weights.
    """
    for name, part, component in _all_parts(config, components):
        if part.storage is None:
            continue
        if not isinstance(component, torch.nn.Module):
            raise LoadError(
                f"Model '{config.name}': the component '{name}' has no weights to keep as {part.storage}.",
                hint="Leave out its `storage`.",
                model=config.name,
            )
        _keep(component, getattr(torch, part.storage))


def _all_parts(config: ModelConfig, components: Mapping[str, object]) -> Iterator[tuple[str, ComponentConfig, object]]:
    """Yield the name and the configuration of each component and itself, those of a list one by one."""
    for name, parts in config.components.items():
        if isinstance(parts, tuple):
            yield from (
                (name, part, each) for part, each in zip(parts, unpack_components(components[name]), strict=True)
            )
        else:
            yield name, parts, components.get(name)


def _keep(component: torch.nn.Module, storage: torch.dtype) -> None:
    """Keep the weights of a component's layers in a dtype between uses."""
    adapters = ("lora_",)
    skipped = [pattern for attribute in KEPT for pattern in getattr(component, attribute, None) or ()]
    apply_layerwise_casting(
        component,
        storage,
        next(weight.dtype for weight in component.parameters() if weight.is_floating_point()),
        skip_modules_pattern=(*DEFAULT_SKIP_MODULES_PATTERN, *skipped, *adapters),
        # Text encoders tell their dtype by their first weights, which are these.
        skip_modules_classes=(torch.nn.Embedding,),
    )


def layerwise_hooks(component: torch.nn.Module) -> list[Any]:
    """Return what brings the layers of a component into the dtype that it computes in; each has this as `compute_dtype`."""
    registries = [getattr(module, "_diffusers_hook", None) for module in component.modules()]
    hooks = [registry.get_hook(_LAYERWISE_CASTING_HOOK) for registry in registries if registry is not None]
    return [hook for hook in hooks if hook is not None]
