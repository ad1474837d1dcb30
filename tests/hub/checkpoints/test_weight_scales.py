"""Scales of quantized weights in a single file, found by names and shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.weight_scales import belongs_to_scales, check_scales, unsupported_weight, weight_scales


def test_both_names_of_a_scale() -> None:
    """A scale belongs to the weight of its layer; a name without such a weight is not one."""
    names = ["a.weight", "a.scale_weight", "b.weight", "b.weight_scale", "c.weight_scale", "d.weight"]

    assert {"a.weight": "a.scale_weight", "b.weight": "b.weight_scale"} == weight_scales(names)


@pytest.mark.parametrize("name", ["scaled_fp8", "model.diffusion_model.scaled_fp8", "a.scale_input", "a.comfy_quant"])
def test_what_describes_the_format(name: str) -> None:
    """Marks and scales of inputs are no weights."""
    assert belongs_to_scales(name)
    assert not belongs_to_scales("a.weight")


@pytest.mark.parametrize(
    ("scale", "supported"), [((), True), ((1,), True), ((8,), True), ((8, 1), True), ((8, 2), False), ((2, 4), False)]
)
def test_shapes_of_scales(scale: tuple[int, ...], supported: bool) -> None:
    """One number, or one for each row, can be multiplied into a weight; those for blocks cannot."""
    found = unsupported_weight({"a.weight": (8, 32), "a.weight_scale": scale}, {"a.weight": "F8_E4M3"})

    assert (None if supported else "a.weight") == found


@pytest.mark.parametrize(
    ("dtype", "supported"), [(torch.float8_e4m3fn, True), (torch.float8_e5m2, True), (torch.uint8, False)]
)
def test_packed_weights_are_refused(tmp_path: Path, dtype: torch.dtype, supported: bool) -> None:
    """A weight that is not stored as numbers is named."""
    file = tmp_path / "x.safetensors"
    save_file({"a.weight": torch.zeros(8, 4).to(dtype), "a.weight_scale": torch.ones(8)}, file)
    if supported:
        return check_scales(file)

    with pytest.raises(IncompatibleWeightsError, match=r"a\.weight is packed"):
        check_scales(file)
    return None
