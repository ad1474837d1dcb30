"""What something has put into a denoiser is told apart from what was there, and both are put back as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from makers.parts import unets
from octabox.engine.worker.conditions.denoiser_state import changed_modules, restore, snapshot


@pytest.fixture
def unet() -> Any:
    """Return a UNet with random weights."""
    torch.manual_seed(0)
    return unets.conditional()


def test_what_differs_is_taken_out_and_put_in(unet: Any) -> None:
    """Modules, plain attributes, settings and attention processors, each as the very object it was."""
    before = snapshot(unet)
    processors = dict(unet.attn_processors)
    name = next(iter(processors))
    mine, part = type(processors[name])(), torch.nn.Linear(1, 1)
    unet.set_attn_processor({**processors, name: mine})
    unet.encoder_hid_proj, unet.noted = part, "new"
    unet.config.encoder_hid_dim_type = "mine"
    without, within = changed_modules(before, snapshot(unet))

    assert {"encoder_hid_proj", "noted"} == set(within.attributes)
    for _ in range(2):
        restore(unet, without)
        assert unet.encoder_hid_proj is None
        assert not hasattr(unet, "noted")
        assert unet.config.encoder_hid_dim_type is None
        assert all(unet.attn_processors[key] is each for key, each in processors.items())
        restore(unet, within)
        assert unet.encoder_hid_proj is part
        assert ("new", "mine") == (unet.noted, unet.config.encoder_hid_dim_type)
        assert unet.attn_processors[name] is mine


def test_nothing_differs_where_nothing_was_done(unet: Any) -> None:
    """Two states of the same denoiser are the same."""
    without, within = changed_modules(snapshot(unet), snapshot(unet))

    assert ({}, {}, {}) == (without.processors, without.attributes, without.settings)
    assert within == without
