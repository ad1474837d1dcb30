"""Measure a model's weights and what its device has for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from octabox.config.memory.limits import limit_of
from octabox.config.model import ModelConfig
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.memory.host import reserve
from octabox.engine.memory.single_files import single_file_libraries
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.memory_modes.decision import GROUPS, UNKNOWN_DECODER, DecodeEstimate, WeightSizes
from octabox.engine.worker.performance.modules import find_denoisers, find_modules
from octabox.engine.worker.placement.offloaders.group import GroupOffloader
from octabox.engine.worker.placement.process_memory import device_memory
from octabox.hub.folder import folder_index, index_components, index_file

#: Largest layers of a component, as a part of its bytes, before they can be measured.
GROUP_SHARE = 16

#: Activations of a decoder at the full size, in units of its last hidden layer: 2200 bytes for each pixel in half precision
#: with 128 channels, as measured for the decoders of SD, SDXL and FLUX.
DECODER_LAYERS = 2200 / (2 * 128)


def available_memory(device: str, options: WorkerOptions, occupied: int = 0) -> int | None:
    """Return the bytes that this process may use on its device: what it has, what is free less a reserve, within the limit.

    Args:
        device: The device.
        options: Settings with the limits.
        occupied: Bytes that other models hold there.
    """
    known = device_memory(device)
    if known is None:
        return None
    free, total, own = known
    # Where a device does not report what other processes hold, the server knows what other models do.
    available = min(free + own, total - occupied) - reserve(total)
    limit = limit_of(options.max_memory, device)
    return max(0, available if limit is None else min(available, limit - occupied))


def file_sizes(config: ModelConfig, device: str, options: WorkerOptions) -> WeightSizes | None:
    """Return the sizes of a model's weights by its files; None if these are not known."""
    sizes = weight_bytes(config, device, options.dtype)
    if not sizes:
        return None
    libraries = _component_libraries(config)
    encoders = frozenset(name for name in sizes if libraries.get(name) == "transformers")
    rest = {name: size for name, size in sizes.items() if name not in encoders}
    largest = max(rest, key=lambda name: rest[name], default="")
    return WeightSizes(sizes, encoders, frozenset({largest}), GROUPS * max(sizes.values()) // GROUP_SHARE)


def _component_libraries(config: ModelConfig) -> Mapping[str, str | None]:
    """Return the library of each component of a model, where it is known before the load."""
    path = Path(config.model)
    if path.is_file():
        return single_file_libraries(config, path)
    index = index_components(folder_index(path)) if index_file(path) is not None else {}
    return {name: library for name, (library, _) in index.items()}


def module_sizes(components: Mapping[str, Any], device: str) -> WeightSizes:
    """Return the sizes of loaded weights; those of modules that several components share count once.

    Args:
        components: The components of a model by name.
        device: Device that it computes on.
    """
    modules = find_modules(components)
    seen: set[int] = set()
    sizes: dict[str, int] = {}
    for name, module in modules.items():
        weights = {id(each): each.nbytes for each in [*module.parameters(), *module.buffers()] if id(each) not in seen}
        seen |= set(weights)
        sizes[name] = sum(weights.values())
    encoders = frozenset(name for name, module in modules.items() if is_encoder(module))
    groups = max(
        (_group_bytes(module, sizes[name], torch.device(device)) for name, module in modules.items()), default=0
    )
    return WeightSizes(sizes, encoders, frozenset(find_denoisers(modules)), groups)


def is_encoder(module: torch.nn.Module) -> bool:
    """Return whether a component encodes prompts or images: those are models of transformers."""
    return isinstance(module, PreTrainedModel)


def decode_estimate(components: Mapping[str, Any]) -> tuple[DecodeEstimate, torch.nn.Module | None]:
    """Return what decoding needs by the widest layer at the full size, and the component that decodes."""
    for module in find_modules(components).values():
        decoder = getattr(module, "decoder", None)
        if not (isinstance(decoder, torch.nn.Module) and callable(getattr(module, "decode", None))):
            continue
        layers = [each for each in decoder.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Conv3d)]
        if layers:
            size = layers[-1].weight.element_size()
            per_pixel = round(DECODER_LAYERS * layers[-1].in_channels * size)
            return DecodeEstimate(per_pixel, _tile_pixels(module)), module
    return UNKNOWN_DECODER, None


def _tile_pixels(module: torch.nn.Module) -> int:
    """Return the pixels of a tile of a decoder, times its frames; 0 if it has no tiles."""
    if not callable(getattr(module, "enable_tiling", None)):
        return 0
    height, width = (_tile_length(module, side, "size") for side in ("height", "width"))
    return height * width * (_tile_length(module, "num_frames") or 1)


def _tile_length(module: torch.nn.Module, *names: str) -> int:
    """Return the first length of a tile that a decoder has under these names; 0 if it has none.

    Args:
        module: The component that decodes.
        names: Such as ``height``, or ``size`` where the tiles of a class are square.
    """
    values = (getattr(module, f"tile_sample_min_{name}", None) for name in names)
    return next((value for value in values if isinstance(value, int)), 0)


def _group_bytes(module: torch.nn.Module, size: int, device: torch.device) -> int:
    """Return what group offloading holds of a component: its largest layers, or all of one that cannot be divided."""
    if not GroupOffloader.supports(module, device):
        return size
    layers = (sum(each.nbytes for each in part.parameters(recurse=False)) for part in module.modules())
    return min(size, GROUPS * max(layers, default=0))
