"""Memory modes through whatever happens to a model: afterwards the device holds what it held, and the results are the same."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from calling import Watcher, call, run
from control import PARAMS, PLAIN, drawn, outline, runner
from ip_adapters import save_all
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationCancelledError, OctaboxError
from octabox.types import AdapterChoice, SchedulerChoice
from pretended_accelerator import Control, control
from trained import EDGES, FRAME, HEARTS

MODES = ("full", "model_cpu_offload", "sequential_cpu_offload", "group_offload")
FROM_IMAGE, GUIDED = "StableDiffusionImg2ImgPipeline", "StableDiffusionControlNetPipeline"
FEW = {**PARAMS, "num_inference_steps": 2}
IMAGE_PROMPT = {"ip_adapter_image": (drawn(),)}

#: Bytes that a scheduler's tables and a generator's state may differ by.
SLACK = 4096


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an IP-Adapter, and a LoRA that fits no layer of the model."""
    place = save_all(tmp_path_factory.mktemp("adapters"))
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_{}.weight"
    save_file({name.format("A"): torch.ones(2, 7), name.format("B"): torch.ones(7, 2)}, place / "foreign.safetensors")
    return place


@dataclass(frozen=True)
class Model:
    """The embedded model in a memory mode: what runs it, the image of its first call, and the bytes held after it.

    Args:
        runner: What runs it.
        image: The image.
        held: Bytes of the device, those of what the call's scheduler keeps too.
        weights: Bytes of weights on the device.
    """

    runner: Runner
    image: np.ndarray
    held: int
    weights: int


@pytest.fixture(scope="module", params=MODES)
def model(request: pytest.FixtureRequest, folder: Path) -> Model:
    """Return the model, with a ControlNet for a sibling and an IP-Adapter."""
    adapter = {"model": str(folder), "subfolder": "models", "weight_name": "first.safetensors"}
    parts = {"controlnet": {"model": str(EDGES)}}
    made = runner(memory=request.param, device="fake", dtype="float32", ip_adapters=[adapter], components=parts)
    return Model(made, make(made), held(), weights())


def make(model: Runner, runs_as: str = PLAIN, watcher: Watcher | None = None, **fields: Any) -> np.ndarray:
    """Return the image of a short call."""
    params = {**FEW, **fields.pop("params", {})}
    adapters = fields.pop("adapters", None)
    wanted = call(runs_as, params, inputs=fields.pop("inputs", None), **fields)
    if adapters is not None:
        object.__setattr__(wanted.runs[0], "adapters", adapters)
    done = run(model, wanted, watcher)
    return np.asarray(done.outputs[0][0].value)


def held() -> int:
    """Return the bytes that the device holds."""
    gc.collect()
    return control().allocated()


def weights() -> int:
    """Return the bytes of weights on the device, wherever they belong."""
    gc.collect()
    found = [each for each in gc.get_objects() if type(each) is torch.nn.Parameter and each.device.type == "fake"]
    return sum(each.nbytes for each in found)


def attempt(model: Runner, error: type[BaseException], **fields: Any) -> None:
    """Make a call that fails."""
    with pytest.raises(error):
        make(model, **fields)


def plain(model: Runner, **_: Any) -> None:
    """Make a call as the one before."""
    make(model)


def scheduler(model: Runner, **_: Any) -> None:
    """Make a call by another scheduler."""
    make(model, scheduler=SchedulerChoice("DDIMScheduler"))


def loras(model: Runner, **_: Any) -> None:
    """Make calls with two LoRAs, with one, and without."""
    make(model, adapters=(AdapterChoice(HEARTS), AdapterChoice(FRAME, 0.5)))
    make(model, adapters=(AdapterChoice(HEARTS),))
    make(model, adapters=())
    model._loras.clear()


def refused_lora(model: Runner, folder: Path, **_: Any) -> None:
    """Ask for a LoRA that does not fit."""
    attempt(model, OctaboxError, adapters=(AdapterChoice(str(folder / "foreign.safetensors")),))


def siblings(model: Runner, **_: Any) -> None:
    """Make calls of two other pipelines over the same components."""
    make(model, FROM_IMAGE, inputs={"image": (drawn(),)})
    make(model, GUIDED, inputs={"image": (outline(),)})


def image_prompt(model: Runner, **_: Any) -> None:
    """Make a call with an image for the IP-Adapter, and cancel another one during it."""
    make(model, inputs=IMAGE_PROMPT)
    watcher = Watcher(error=GenerationCancelledError("enough"), step=1)
    attempt(model, GenerationCancelledError, inputs=IMAGE_PROMPT, watcher=watcher)


def previews(model: Runner, **_: Any) -> None:
    """Make a call that shows unfinished images."""
    make(model, partial_images=1)


def cancels(model: Runner, **_: Any) -> None:
    """Cancel calls after each of their steps, of a sibling too."""
    for step in (1, 2):
        watcher = Watcher(error=GenerationCancelledError("enough"), step=step)
        attempt(model, GenerationCancelledError, watcher=watcher)
    watcher = Watcher(error=GenerationCancelledError("enough"), step=1)
    attempt(model, GenerationCancelledError, runs_as=GUIDED, inputs={"image": (outline(),)}, watcher=watcher)


def errors(model: Runner, accelerator: Control, **_: Any) -> None:
    """Let memory run out in several places of a call: while it encodes, denoises and decodes."""
    accelerator.forget_counts()
    make(model)
    operators = sum(accelerator.operators.values())
    for share in (0.02, 0.5, 0.98):
        accelerator.fail("out of memory", after=int(share * operators))
        attempt(model, torch.OutOfMemoryError)


EVENTS: tuple[Callable[..., None], ...] = (
    plain,
    scheduler,
    loras,
    refused_lora,
    siblings,
    image_prompt,
    previews,
    cancels,
    errors,
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_all_is_as_before(model: Model, folder: Path, accelerator: Control, event: Callable[..., None]) -> None:
    """Whatever happens to a model, the device then holds no more bytes than before, and the next image is the same."""
    event(model.runner, folder=folder, accelerator=accelerator)

    assert weights() == model.weights
    assert np.array_equal(model.image, make(model.runner))
    assert abs(held() - model.held) <= SLACK
