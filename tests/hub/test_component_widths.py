"""A denoiser returns at least the channels of the latents that the VAE takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox.hub.component_widths import find_channel_faults


@pytest.mark.parametrize(
    ("vae", "denoiser", "fits"),
    [
        ({"latent_channels": 4}, {"out_channels": 4}, True),
        ({"latent_channels": 4}, {"out_channels": 8}, True),
        ({"latent_channels": 16}, {"out_channels": 64}, True),
        ({"latent_channels": 4}, {"out_channels": 5}, True),
        ({"latent_channels": 16}, {"out_channels": 4}, False),
        ({"latent_channels": 16}, {"out_channels": None}, True),
        ({"latent_channels": 0}, {"out_channels": 4}, True),
        ({"z_dim": 16}, {"out_channels": 4}, True),
    ],
)
@pytest.mark.parametrize("name", ["unet", "transformer"])
def test_channels_of_latents(tmp_path: Path, name: str, vae: Any, denoiser: Any, *, fits: bool) -> None:
    """Settings that are missing, or that are not numbers, state nothing."""
    for folder, settings in (("vae", vae), (name, denoiser)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps(settings))
    found = [(each.component, "channels" in each.message) for each in find_channel_faults(tmp_path, ["vae", name])]

    assert ([] if fits else [(name, True)]) == found
    assert [] == list(find_channel_faults(tmp_path, [name]))
