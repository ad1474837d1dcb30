"""What decoders need, and what a device has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLHunyuanVideo

from ldm_layout import tiny_vae
from octabox.engine.memory.host import reserve
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.memory_modes.measuring import available_memory, decode_estimate
from octabox.engine.worker.placement.process_memory import device_memory, usable_memory

#: Bytes that a Mac recommends to use.
RECOMMENDED = 16 * 2**30


def hunyuan() -> AutoencoderKLHunyuanVideo:
    """Return a tiny decoder of videos with tiles in space and time."""
    blocks: Any = {"block_out_channels": (4, 4, 4, 4), "layers_per_block": 1, "norm_num_groups": 4}
    return AutoencoderKLHunyuanVideo(latent_channels=4, **blocks)


def cogvideo() -> AutoencoderKLCogVideoX:
    """Return a tiny decoder of videos with tiles in space alone."""
    blocks: Any = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 2}
    return AutoencoderKLCogVideoX(latent_channels=4, **blocks)


def test_the_tiles_of_a_video_have_frames() -> None:
    """A tile is as high and as wide as its decoder states, with as many frames, whatever the order of the names."""
    video, frame, image = hunyuan(), cogvideo(), tiny_vae()

    assert (256, 256, 16) == (
        video.tile_sample_min_height,
        video.tile_sample_min_width,
        video.tile_sample_min_num_frames,
    )
    assert 256 * 256 * 16 == decode_estimate({"vae": video})[0].tile_pixels
    assert frame.tile_sample_min_height != frame.tile_sample_min_width
    assert frame.tile_sample_min_height * frame.tile_sample_min_width == decode_estimate({"vae": frame})[0].tile_pixels
    assert image.tile_sample_min_size**2 == decode_estimate({"vae": image})[0].tile_pixels


def test_a_decoder_without_tiles_has_none() -> None:
    """Nor has one whose tiles have another form."""
    vae: Any = tiny_vae()
    del vae.tile_sample_min_size
    vae.tile_sample_min_length = 8

    assert 0 == decode_estimate({"vae": vae})[0].tile_pixels


def test_a_mac_has_what_it_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not report what is free: what this process and the other models hold is subtracted."""
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: RECOMMENDED)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2**30)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 2**29)
    options = WorkerOptions()

    assert (RECOMMENDED - 2**30, RECOMMENDED, 2**30) == device_memory("mps:0")
    assert RECOMMENDED - 2**29 == usable_memory("mps:0")
    assert RECOMMENDED - reserve(RECOMMENDED) == available_memory("mps:0", options)
    assert RECOMMENDED - reserve(RECOMMENDED) - 5 * 2**30 == available_memory("mps:0", options, 5 * 2**30)
    assert 0 == available_memory("mps:0", options, 2 * RECOMMENDED)
    monkeypatch.delattr(torch.mps, "recommended_max_memory")
    assert device_memory("mps:0") is None
