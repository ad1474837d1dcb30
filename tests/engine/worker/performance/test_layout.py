"""Memory layout and fused projections do not change results visibly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import makers
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.config.performance import PerformanceConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.performance.layout import fuse_projections, split_projections, use_channels_last
from octabox.engine.worker.performance.modules import find_denoisers, find_modules
from octabox.engine.worker.runner import Runner
from octabox.types import AdapterChoice
from trained import HEARTS, image, pipeline, shows

pytestmark = pytest.mark.slow


@pytest.fixture
def pipe() -> Any:
    """Return the embedded model."""
    return pipeline()


def difference(first: Any, second: Any) -> int:
    """Return the largest difference of two images, 0 to 255."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


def test_channels_last_gives_the_same_image(pipe: Any) -> None:
    """Weights of convolutions are channels last, those of text encoders unchanged, and the image is the same."""
    before = image(pipe)
    changed = use_channels_last(find_modules(pipe.components))

    assert {"unet", "vae"} == set(changed)
    assert pipe.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert 2 >= difference(before, image(pipe))


def test_fused_projections_give_the_same_image_and_can_be_split(pipe: Any) -> None:
    """Added layers are removed again, and the image is the same to the bit."""
    before, names = image(pipe), {name for name, _ in pipe.unet.named_parameters()}
    fused, reasons = fuse_projections(find_modules(pipe.components))
    added = {name for name, _ in pipe.unet.named_parameters()} - names
    during = image(pipe)
    split_projections([pipe.unet])

    assert ["unet"] == fused, reasons
    assert added
    assert 2 >= difference(before, during)
    assert names == {name for name, _ in pipe.unet.named_parameters()}
    assert 0 == difference(before, image(pipe))


def test_packed_weights_are_not_fused(pipe: Any) -> None:
    """Weights stored in eight bits are unchanged, and the reason is returned."""
    pipe.unet.mid_block.to(torch.float8_e4m3fn)

    assert ([], {"unet"}) == (fuse_projections({"unet": pipe.unet})[0], set(fuse_projections({"unet": pipe.unet})[1]))


def test_a_lora_is_seen_though_projections_were_fused(calls: Any) -> None:
    """The first LoRA undoes fused projections, which would hide it, with one warning."""
    config = ModelConfig(name="demo", model=str(demo.FOLDER), performance=PerformanceConfig(fuse_qkv=True))
    model = load(config, "StableDiffusionPipeline", WorkerOptions(threads=1))
    runner, choice = Runner(model), AdapterChoice(HEARTS, name="hearts")
    call = calls(prompt="a red circle on a white background")
    call = replace(call, model=config)
    with_lora = replace(call, runs=tuple(replace(run, adapters=(choice,)) for run in call.runs))

    fused = model.performance.report.applied
    warnings = [runner.run(each, lambda _: None, lambda: None).warnings for each in (call, with_lora, with_lora)]

    assert {"fuse_qkv": "unet"} == fused
    assert [0, 1, 0] == [len(each) for each in warnings]
    assert "LoRA" in warnings[1][0]
    assert ("heart", "red", "white") == shows(image(model.pipeline))


def test_lists_of_components_are_found_one_by_one() -> None:
    """Each has a name with its index; components without weights are not included."""
    parts = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]

    assert ["controlnet.0", "controlnet.1", "vae"] == list(
        find_modules({"controlnet": parts, "scheduler": object(), "vae": torch.nn.Linear(1, 1)})
    )


@pytest.mark.parametrize("name", ["FluxPipeline", "StableDiffusionXLPipeline", "WanPipeline"])
def test_denoisers_are_told_by_their_forward_pass(name: str) -> None:
    """Of every family the UNet or the transformer is found, and nothing else."""
    found = find_denoisers(find_modules(makers.pipelines()[name].make().components))

    assert {"unet", "transformer", "transformer_2"} >= set(found)
    assert found
