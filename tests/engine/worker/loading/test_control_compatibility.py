"""ControlNets of another model family are refused at load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control import embedded, runner
from makers.parts import unets
from makers.unet.stable_diffusion_guided import adapter
from octabox.engine.worker.loading.control_compatibility import check_control_components
from octabox.errors import IncompatibleWeightsError
from trained import EDGES


def test_those_of_another_family_are_refused(tmp_path: Path) -> None:
    """A wrong embedding width or wrong channels are an error, which names the position in a list."""
    unets.controlnet(cross_attention_dim=96).save_pretrained(tmp_path / "net")
    adapter(channels=[16, 32]).save_pretrained(tmp_path / "adapter")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"controlnet": {"model": str(tmp_path / "net")}}, "controlnet .* cross_attention_dim is 96, .* is 64"),
        ({"controlnet": [{"model": str(EDGES)}, {"model": str(tmp_path / "net")}]}, "its controlnet 2 of 2 was made"),
        ({"adapter": {"model": str(tmp_path / "adapter")}}, r"channels is \[16, 32\], and the model's is \[48, 96\]"),
    ]
    for components, said in cases:
        with pytest.raises(IncompatibleWeightsError, match=said) as caught:
            runner(components=components)
        assert "steered" == caught.value.model


def test_those_that_fit_are_not() -> None:
    """Compatible components, those with a projection, and unknown ones are accepted."""
    model: Any = unets.conditional()
    for net in (
        unets.controlnet(),
        unets.controlnet(cross_attention_dim=96, encoder_hid_dim=32, encoder_hid_dim_type="text_proj"),
        adapter(channels=[*unets.LEVELS, 64]),
        [unets.controlnet(), unets.controlnet()],
        object(),
    ):
        check_control_components(embedded(), {"unet": model}, {"controlnet": net})
        check_control_components(embedded(), {"unet": model, "controlnet": net}, {})
    check_control_components(embedded(), {}, {"controlnet": unets.controlnet()})
