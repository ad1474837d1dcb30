"""Tiny networks of the ESRGAN kind, in files as their authors publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from octabox.engine.worker.upscaling.torchvision_stub import torchvision_or_stub

with torchvision_or_stub():
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.ESRGAN import ESRGAN
    from spandrel.architectures.RestoreFormer import RestoreFormer


def nearest(scale: int, channels: int = 3) -> Any:
    """Return a network that repeats each pixel and does nothing else: what it adds to that is nothing."""
    network = Compact(num_in_ch=channels, num_out_ch=channels, num_feat=4, num_conv=1, upscale=scale)
    for weights in network.body[-1].parameters():
        torch.nn.init.zeros_(weights)
    return network


def esrgan(scale: int, seed: int = 0) -> Any:
    """Return a network of the architecture ESRGAN with random weights; each pixel is made of those within 20 of it."""
    torch.manual_seed(seed)
    network = ESRGAN(num_filters=4, num_blocks=1, scale=scale)
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(3)
    return network


def restoreformer(seed: int = 0) -> Any:
    """Return a tiny network for cropped faces with random weights."""
    torch.manual_seed(seed)
    return RestoreFormer(
        n_embed=8,
        embed_dim=32,
        ch=32,
        out_ch=3,
        ch_mult=(1, 1, 1, 1, 1, 1),
        num_res_blocks=1,
        attn_resolutions=(16,),
        dropout=0.0,
        in_channels=3,
        resolution=512,
        z_channels=32,
        double_z=False,
        enable_mid=True,
        head_size=8,
    )


def save(network: Any, file: Path, wrapped: str = "") -> Path:
    """Write the weights of a network into a file, as torch or safetensors does; return the file.

    Args:
        network: The network.
        file: The file.
        wrapped: Name of the entry that they are put into, as some trainers do.
    """
    weights = network.state_dict()
    if file.suffix == ".safetensors":
        save_file(weights, file)
    else:
        torch.save({wrapped: weights} if wrapped else weights, file)
    return file
