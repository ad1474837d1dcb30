"""Store the weights of components in a smaller dtype and cast each layer to the compute dtype while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from diffusers.hooks import apply_layerwise_casting
from diffusers.hooks.layerwise_casting import _LAYERWISE_CASTING_HOOK, DEFAULT_SKIP_MODULES_PATTERN

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.component_types import unpack_components
from octabox.errors import LoadError

#: Class attributes with the names of layers that must keep their precision.
SKIP_ATTRIBUTES = ("_keep_in_fp32_modules", "_skip_layerwise_casting_patterns")

#: Attribute that marks the magnitudes of a DoRA whose layer is cast for them.
_MARKER = "_octabox_casts_layer"


def apply_storage(config: ModelConfig, components: Mapping[str, object]) -> None:
    """Apply layerwise casting to the components with a `storage` dtype.

    Args:
        config: The model's configuration.
        components: All components by name.

    Raises:
        LoadError: Such a component has no weights.
    """
    for name, part, component in _configured_components(config, components):
        if part.storage is None:
            continue
        if not isinstance(component, torch.nn.Module):
            raise LoadError(
                f"Model '{config.name}': the component '{name}' has no weights to store as {part.storage}.",
                hint="Leave out its `storage`.",
                model=config.name,
            )
        _cast_layerwise(component, getattr(torch, part.storage))


def _configured_components(
    config: ModelConfig, components: Mapping[str, object]
) -> Iterator[tuple[str, ComponentConfig, object]]:
    """Yield the name, configuration and object of each configured component, with lists flattened."""
    for name, parts in config.components.items():
        if isinstance(parts, tuple):
            yield from (
                (name, part, each) for part, each in zip(parts, unpack_components(components[name]), strict=True)
            )
        else:
            yield name, parts, components.get(name)


def _cast_layerwise(component: torch.nn.Module, storage: torch.dtype) -> None:
    """Store the weights of a component's layers in a dtype between their calls."""
    adapters = ("lora_",)
    skipped = [pattern for attribute in SKIP_ATTRIBUTES for pattern in getattr(component, attribute, None) or ()]
    apply_layerwise_casting(
        component,
        storage,
        next(weight.dtype for weight in component.parameters() if weight.is_floating_point()),
        skip_modules_pattern=(*DEFAULT_SKIP_MODULES_PATTERN, *skipped, *adapters),
        # Text encoders report the dtype of their first weights, which are these.
        skip_modules_classes=(torch.nn.Embedding,),
    )
    for module, hook in _hooked_modules(component):
        # PEFT reads it to choose the dtype of a LoRA that is loaded later; most of its numbers are 0 in the storage dtype.
        module.compute_dtype = hook.compute_dtype
    cast_for_magnitudes(component)


def cast_for_magnitudes(*components: torch.nn.Module) -> None:
    """Cast layers for the magnitudes of DoRAs too, which read the weights outside of the calls of these layers.

    It is called after a LoRA is loaded; where that was done before, nothing changes.

    Args:
        *components: Components that may have LoRAs, and weights in a smaller dtype.
    """
    for component in components:
        casts = dict(_hooked_modules(component))
        modules: Iterator[Any] = component.modules()
        for module in modules:
            for magnitude in getattr(module, "lora_magnitude_vector", {}).values():
                cast = casts.get(module.get_base_layer())
                if cast is not None and not hasattr(magnitude, _MARKER):
                    magnitude.register_forward_pre_hook(partial(_before, cast), with_kwargs=True)
                    magnitude.register_forward_hook(partial(_after, cast), with_kwargs=True, always_call=True)
                    setattr(magnitude, _MARKER, True)


def _before(cast: Any, _magnitude: torch.nn.Module, _args: object, options: dict[str, Any]) -> None:
    """Cast the layer whose magnitudes are set to the compute dtype."""
    cast.pre_forward(options["base_layer"])


def _after(cast: Any, _magnitude: torch.nn.Module, _args: object, options: dict[str, Any], _output: object) -> None:
    """Cast that layer back."""
    cast.post_forward(options["base_layer"], None)


def layerwise_hooks(component: torch.nn.Module) -> list[Any]:
    """Return the layerwise casting hooks of a component, each with its `compute_dtype`."""
    return [hook for _, hook in _hooked_modules(component)]


def _hooked_modules(component: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, Any]]:
    """Yield the modules of a component that have a layerwise casting hook, each with its hook."""
    for module in component.modules():
        registry = getattr(module, "_diffusers_hook", None)
        if registry is not None and (hook := registry.get_hook(_LAYERWISE_CASTING_HOOK)) is not None:
            yield module, hook
