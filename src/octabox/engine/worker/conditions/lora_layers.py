"""Merge active LoRAs into the weights of a model's layers, and restore the original weights exactly.

An unmerged LoRA costs two more matrix products per layer. Merged weights are new tensors, so the original ones never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer

from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.process_memory import usable_memory

#: Limit of the bytes of merged weights; beyond it LoRAs stay unmerged.
MAX_BYTES = 2 * 2**30

#: Share of an accelerator's free memory that merged weights may take.
MEMORY_SHARE = 0.5

#: Dtypes of weights that LoRAs can be merged into; others are quantized.
MERGEABLE_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})


class LoraLayers:
    """The layers of a model that have LoRAs.

    Args:
        components: Returns the components that may have LoRAs, by name.
        max_bytes: Limit of the bytes of merged weights.
    """

    def __init__(self, components: Callable[[], Mapping[str, torch.nn.Module]], max_bytes: int = MAX_BYTES) -> None:
        self._components, self._max_bytes = components, max_bytes
        self._detached: list[tuple[torch.nn.Module, str, torch.nn.Module]] = []
        self._original_weights: list[tuple[torch.nn.Parameter, torch.Tensor]] = []

    def attach(self) -> None:
        """Restore the original weights, where the model is now, and the LoRA layers, where PEFT expects them."""
        for weight, original in self._original_weights:
            weight.data = original.to(weight.device, weight.dtype)
        for parent, name, layer in self._detached:
            parent._modules[name] = layer  # noqa: SLF001 (there is no public way to replace a submodule)
        self._original_weights.clear()
        self._detached.clear()

    def detach(self) -> None:
        """Replace LoRA layers by their base layers."""
        for parent, name, layer in list(self._lora_layers()):
            parent._modules[name] = layer.base_layer  # noqa: SLF001 (as above)
            self._detached.append((parent, name, layer))

    def deactivate_unscaled(self) -> None:
        """Deactivate LoRAs whose scale is 0 in a component: a DoRA would still change the weights there."""
        for _, _, layer in self._lora_layers():
            active = [name for name in layer.active_adapters if layer.scaling.get(name) != 0]
            if len(active) < len(layer.active_adapters):
                layer.set_adapter(active)

    def merge(self) -> bool:
        """Merge the active LoRAs into new weights; return False if that is not possible."""
        layers = [(layer, _active_loras(layer)) for _, _, layer in self._lora_layers()]
        changed = [(layer, names) for layer, names in layers if names]
        weights = [getattr(layer.base_layer, "weight", None) for layer, _ in changed]
        if not all(_has_plain_loras(layer, names) for layer, names in changed) or not all(map(_is_mergeable, weights)):
            return False
        required = sum(weight.nbytes for weight in weights if weight is not None)
        if required > min(self._max_bytes, MEMORY_SHARE * _free_bytes(weights)):
            return False
        try:
            merged = [_merge_weight(layer, names) for layer, names in changed]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # Unmerged LoRAs are slower and give the same result.
            return False
        for weight, total in zip(weights, merged, strict=True):
            assert isinstance(weight, torch.nn.Parameter)  # noqa: S101 (checked above)
            self._original_weights.append((weight, weight.data))
            weight.data = total
        self.detach()
        return True

    def _lora_layers(self) -> Iterator[tuple[torch.nn.Module, str, Any]]:
        """Yield each LoRA layer with its parent module and its name there."""
        for part in self._components().values():
            for parent in part.modules():
                for name, child in parent.named_children():
                    if isinstance(child, BaseTunerLayer):
                        yield parent, name, child


def adapted_layers(component: torch.nn.Module, adapter: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and the layer of each layer of a component that has a LoRA."""
    for path, module in component.named_modules():
        if isinstance(module, LoraLayer) and adapter in module.scaling:
            yield path, module


def set_adapter_variant(layer: Any, adapter: str, *, has_magnitude: bool) -> None:
    """Set the scale of an adapter in a layer to 1, and remove a DoRA without a magnitude.

    PEFT configures all layers of a component in the same way, and invents the magnitudes that a file does not have.
    """
    layer.lora_alpha[adapter], layer.use_rslora[adapter] = layer.r[adapter], False
    layer.set_scale(adapter, 1.0)
    if not has_magnitude and adapter in layer.lora_magnitude_vector:
        layer.lora_variant.pop(adapter, None)
        layer.use_dora[adapter] = False
        del layer.lora_magnitude_vector[adapter]


def _active_loras(layer: Any) -> list[str]:
    """Return the active LoRAs of a layer."""
    return [] if layer.disable_adapters else [name for name in layer.active_adapters if name in layer.r]


def _has_plain_loras(layer: Any, names: list[str]) -> bool:
    """Return whether LoRAs only add to a layer's weight, without variants such as DoRA and without biases."""
    extras = (getattr(layer, "lora_variant", {}), getattr(layer, "lora_bias", {}))
    return hasattr(layer, "get_delta_weight") and not any(each.get(name) for each in extras for name in names)


def _is_mergeable(weight: object) -> bool:
    """Return whether a weight is a dense tensor in memory."""
    return type(weight) is torch.nn.Parameter and weight.dtype in MERGEABLE_DTYPES and weight.device.type != "meta"


def _free_bytes(weights: Sequence[torch.Tensor | None]) -> float:
    """Return the free bytes on the device of weights; infinity on the host, or if the device does not report them."""
    device = next((str(weight.device) for weight in weights if weight is not None), "cpu")
    known = usable_memory(device)
    return float("inf") if known is None else known


@torch.no_grad()
def _merge_weight(layer: Any, names: list[str]) -> torch.Tensor:
    """Return a layer's weight with the LoRAs added, computed in float32."""
    weight: torch.Tensor = layer.base_layer.weight.data
    total = weight.float()
    for name in names:
        total = total + layer.get_delta_weight(name).to(total)
    return total.to(weight.dtype)
