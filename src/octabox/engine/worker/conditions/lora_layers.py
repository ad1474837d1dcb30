"""The layers that LoRAs stand beside: taken out of the model's way, or exchanged for weights that hold the LoRAs already.

A LoRA beside a layer costs two more products in each call of it, and a layer that only might have one costs a question. So that
a call with LoRAs is as fast as one without, its layers compute with weights to which the LoRAs were added. Those are new
tensors: the model's own ones are set aside as they are, and put back, so that not a bit of them is ever computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

#: Most bytes of weights that are held a second time for that; where the layers have more, LoRAs stay beside them.
MAX_BYTES = 2 * 2**30

#: Share of an accelerator's free memory that such weights may take; the call itself needs the rest.
SHARE = 0.5

#: Types of numbers that sums can be made of; others are packed.
NUMBERS = frozenset({torch.float32, torch.float16, torch.bfloat16})


class LoraLayers:
    """The layers of a model that have LoRAs beside them.

    Args:
        parts: Returns the components that may have any, by name.
        most: Most bytes of weights that may be held twice.
    """

    def __init__(self, parts: Callable[[], Mapping[str, torch.nn.Module]], most: int = MAX_BYTES) -> None:
        self._parts, self._most = parts, most
        self._out: list[tuple[torch.nn.Module, str, torch.nn.Module]] = []
        self._own: list[tuple[torch.nn.Parameter, torch.Tensor]] = []

    def attach(self) -> None:
        """Put everything back where the libraries look for it: the model's own weights, and the LoRAs beside them."""
        for weight, own in self._own:
            weight.data = own
        for parent, name, layer in self._out:
            parent._modules[name] = layer  # noqa: SLF001 (there is no other way to give a module back under its name)
        self._own.clear()
        self._out.clear()

    def detach(self) -> None:
        """Let the model have its plain layers alone."""
        for parent, name, layer in list(self._beside()):
            parent._modules[name] = layer.base_layer  # noqa: SLF001 (as above)
            self._out.append((parent, name, layer))

    def merge(self) -> bool:
        """Exchange weights for their sums with the LoRAs that are switched on; return False where that cannot be."""
        layers = [(layer, _switched_on(layer)) for _, _, layer in self._beside()]
        changed = [(layer, names) for layer, names in layers if names]
        weights = [getattr(layer.base_layer, "weight", None) for layer, _ in changed]
        if not all(_plain(layer, names) for layer, names in changed) or not all(map(_summable, weights)):
            return False
        needed = sum(weight.nbytes for weight in weights if weight is not None)
        if needed > min(self._most, SHARE * _free_memory(weights)):
            return False
        try:
            sums = [_sum(layer, names) for layer, names in changed]
        except torch.OutOfMemoryError:
            # Something else on the device has taken what was free. Without sums the call is slower, and makes the same.
            return False
        for weight, total in zip(weights, sums, strict=True):
            assert isinstance(weight, torch.nn.Parameter)  # noqa: S101 (asked above)
            self._own.append((weight, weight.data))
            weight.data = total
        self.detach()
        return True

    def _beside(self) -> Iterator[tuple[torch.nn.Module, str, Any]]:
        """Yield each layer that has room for LoRAs, with the module it is in and its name there."""
        for part in self._parts().values():
            for parent in part.modules():
                for name, child in parent.named_children():
                    if isinstance(child, BaseTunerLayer):
                        yield parent, name, child


def _switched_on(layer: Any) -> list[str]:
    """Return the LoRAs of a layer that are switched on."""
    return [] if layer.disable_adapters else [name for name in layer.active_adapters if name in layer.r]


def _plain(layer: Any, names: list[str]) -> bool:
    """Tell whether LoRAs do no more to a layer than to add to its weights."""
    more = (getattr(layer, "lora_variant", {}), getattr(layer, "lora_bias", {}))
    return hasattr(layer, "get_delta_weight") and not any(each.get(name) for each in more for name in names)


def _summable(weight: object) -> bool:
    """Tell whether weights are numbers that can be added to."""
    return type(weight) is torch.nn.Parameter and weight.dtype in NUMBERS and weight.device.type != "meta"


def _free_memory(weights: Sequence[torch.Tensor | None]) -> float:
    """Return the bytes that are free on the accelerator where weights are; without end on a host, or where it does not say."""
    device = next((weight.device for weight in weights if weight is not None), torch.device("cpu"))
    module = torch.get_device_module(device)
    if device.type == "cpu" or not hasattr(module, "mem_get_info"):
        return float("inf")
    free, _ = module.mem_get_info(device.index or 0)
    # What torch keeps for reuse is free as well.
    return float(free + module.memory_reserved(device.index or 0) - module.memory_allocated(device.index or 0))


@torch.no_grad()
def _sum(layer: Any, names: list[str]) -> torch.Tensor:
    """Return a layer's weights with the LoRAs added, in single precision on the way."""
    weight: torch.Tensor = layer.base_layer.weight.data
    total = weight.float()
    for name in names:
        total = total + layer.get_delta_weight(name).to(total)
    return total.to(weight.dtype)
