"""Faults that a processor does not show, put into Octabox by hand: the pretended accelerator shows each of them.

Each fault replaces a function by one with a line left out or changed. Without it a scenario makes on the device what it
makes on the processor, and leaves there what was there before; with it the scenario fails, or makes or leaves something
else.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from accelerator.trials import numbers
from calling import Watcher, call, run
from control import PARAMS, PLAIN, drawn, outline
from control import runner as load_runner
from octabox.engine.worker import progress, runner
from octabox.engine.worker.conditions import lora_layers
from octabox.engine.worker.outputs import parser
from octabox.engine.worker.placement import offload
from octabox.engine.worker.placement.offloaders.component import ComponentOffloader
from octabox.engine.worker.prompts import embed_cache, weighted_encoding
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationCancelledError
from octabox.types import AdapterChoice, SchedulerChoice
from pretended_accelerator import Control, control
from trained import EDGES, HEARTS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FEW = {**PARAMS, "num_inference_steps": 2}
Patch = pytest.MonkeyPatch

#: How far a number may be from the processor's: a pixel's value may be rounded the other way.
LARGEST = 1.5 / 255


def made(model: Runner, runs_as: str = PLAIN, watcher: Watcher | None = None, **fields: Any) -> np.ndarray:
    """Return the numbers of what a short call makes; `params` add to its parameters, `run_fields` to its run."""
    params, run_fields = {**FEW, **fields.pop("params", {})}, fields.pop("run_fields", {})
    wanted = call(runs_as, params, inputs=fields.pop("inputs", None), **fields)
    wanted = replace(wanted, runs=tuple(replace(each, **run_fields) for each in wanted.runs))
    items = [item for item, *_ in run(model, wanted, watcher).outputs]
    return np.concatenate([value.ravel() for item in items for _, value in numbers(item)])


# Scenarios: what is done with a model.


def plain(model: Runner) -> np.ndarray:
    """Make an image, and another one of the same prompt, which is encoded once."""
    images = [made(model), made(model)]
    return np.append(np.concatenate(images), model._embed_cache.hits)


def single(model: Runner) -> np.ndarray:
    """Make an image."""
    return made(model)


def weighted(model: Runner) -> np.ndarray:
    """Make an image of a weighted prompt."""
    return made(model, params={"prompt": "a (red:1.4) star"}, prompt_syntax="a1111")


def latents(model: Runner) -> np.ndarray:
    """Return what is not decoded."""
    return made(model, params={"output_type": "latent"})


def with_lora(model: Runner) -> np.ndarray:
    """Make an image with a LoRA."""
    return made(model, run_fields={"adapters": (AdapterChoice(HEARTS),)})


def with_preview(model: Runner) -> np.ndarray:
    """Make an image that is shown unfinished."""
    watcher = Watcher()
    image = made(model, watcher=watcher, partial_images=1)
    return np.append(image, sum(each.preview is not None for each in watcher.told))


def scheduled(model: Runner) -> np.ndarray:
    """Take another scheduler."""
    return made(model, scheduler=SchedulerChoice("EulerDiscreteScheduler"))


def controlled(model: Runner) -> np.ndarray:
    """Let a sibling with a ControlNet run."""
    return made(model, "StableDiffusionControlNetPipeline", inputs={"image": (outline(),)})


def from_image(model: Runner) -> np.ndarray:
    """Let a sibling run that begins with an image."""
    return made(model, "StableDiffusionImg2ImgPipeline", inputs={"image": (drawn(),)})


def cancelled(model: Runner) -> np.ndarray:
    """Cancel a call in its middle, and look at what the device holds before the next."""
    with pytest.raises(GenerationCancelledError):
        made(model, watcher=Watcher(error=GenerationCancelledError("enough"), step=1))
    return np.asarray([weights() if model.device == "fake" else 0])


# Faults: what is changed.


def ids_on_the_host(patch: Patch) -> None:
    """The tokens of weighted prompts are not brought to the encoder's device."""

    def call_encoder(job: Any, ids: torch.Tensor, mask: torch.Tensor | None) -> Any:
        return job.forward(ids.cpu(), attention_mask=mask, **job.options, return_dict=True)

    patch.setattr(weighted_encoding.EncodeJob, "_run", call_encoder)


def key_from_the_device(patch: Patch) -> None:
    """The key of an encoded prompt is made without bringing its tokens to the host."""
    own = embed_cache.cache_key

    def cache_key(value: Any) -> Any:
        return value.numpy().tobytes() if isinstance(value, torch.Tensor) else own(value)

    patch.setattr(embed_cache, "cache_key", cache_key)


def numbers_of_the_device(patch: Patch) -> None:
    """Outputs are made arrays without bringing them to the host."""
    patch.setattr(parser, "to_numpy", lambda value: value.detach().numpy())


def sums_on_the_host(patch: Patch) -> None:
    """The sums of weights and LoRAs are left on the host."""
    own = lora_layers._merge_weight
    patch.setattr(lora_layers, "_merge_weight", lambda *args: own(*args).cpu())


def preview_on_the_host(patch: Patch) -> None:
    """Unfinished latents are brought to the host before they are decoded."""
    own = vars(progress)["preview"]
    patch.setattr(progress, "preview", lambda pipe, tensor: own(pipe, tensor.cpu()))


def sigmas_on_the_device(patch: Patch) -> None:
    """The tables of a scheduler, which it makes schedules of by numpy, are on the device."""
    own = vars(runner)["build_scheduler"]

    def build(*args: Any, **kwargs: Any) -> Any:
        made = own(*args, **kwargs)
        made.alphas_cumprod = made.alphas_cumprod.to("fake")
        return made

    patch.setattr(runner, "build_scheduler", build)


def component_not_placed(patch: Patch) -> None:
    """What belongs to siblings alone is not moved to the device."""
    own = offload._modules
    patch.setattr(
        offload, "_modules", lambda parts: {name: each for name, each in own(parts).items() if name != "controlnet"}
    )


def hook_lost(patch: Patch) -> None:
    """A component is not brought to the device any more when it is used."""
    patch.setattr(ComponentOffloader, "_load_on_use", lambda component, module, args, kwargs: (args, kwargs))


def not_moved_back(patch: Patch) -> None:
    """After a cancelled call the components stay on the device."""

    @contextmanager
    def call_scope(placement: offload.Placement) -> Any:
        yield

    patch.setattr(offload.Placement, "call_scope", call_scope)


def frames_kept(patch: Patch) -> None:
    """Tensors of each call are kept by someone."""
    kept: list[Any] = []
    own = parser.OutputParser.parse

    def parse(self: Any, output: Any) -> Any:
        found = own(self, output)
        kept.append(torch.ones(100_000, device="fake"))
        return found

    patch.setattr(parser.OutputParser, "parse", parse)


@dataclass(frozen=True)
class Seeded:
    """A fault, the scenario that meets it, and the memory mode of the model.

    Args:
        fault: Puts it in.
        scenario: Meets it.
        memory: The memory mode.
        warm: Whether the scenario is met once before, so that what it needs from then on is there.
    """

    fault: Callable[[Patch], None]
    scenario: Callable[[Runner], np.ndarray]
    memory: str = "full"
    warm: bool = False


SEEDED = (
    Seeded(ids_on_the_host, weighted),
    Seeded(key_from_the_device, plain),
    Seeded(numbers_of_the_device, latents),
    Seeded(sums_on_the_host, with_lora, warm=True),
    Seeded(preview_on_the_host, with_preview),
    Seeded(sigmas_on_the_device, scheduled),
    Seeded(component_not_placed, controlled),
    Seeded(hook_lost, from_image, "model_cpu_offload"),
    Seeded(not_moved_back, cancelled, "model_cpu_offload"),
    Seeded(frames_kept, single, warm=True),
)


def loaded(device: str, mode: str) -> Runner:
    """Return a runner of the embedded model with a ControlNet for its sibling."""
    return load_runner(device=device, memory=mode, dtype="float32", components={"controlnet": {"model": str(EDGES)}})


@cache
def expected(scenario: Callable[[Runner], np.ndarray]) -> np.ndarray:
    """Return what a scenario makes on the processor."""
    return scenario(loaded("cpu", "full"))


def weights() -> int:
    """Return the bytes of weights that are on the device."""
    gc.collect()
    found = [each for each in gc.get_objects() if type(each) is torch.nn.Parameter and each.device.type == "fake"]
    return sum(each.nbytes for each in found)


def wrong(seeded: Seeded) -> str:
    """Return what is wrong with a scenario on the device; nothing where all is well."""
    model = loaded("fake", seeded.memory)
    try:
        if seeded.warm:
            seeded.scenario(model)
        before = weights()  # which collects garbage, so that it comes first
        held = control().allocated()
        found = seeded.scenario(model)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is noticed)
        return f"{type(error).__name__}: {error}"
    if found.shape != expected(seeded.scenario).shape or np.abs(found - expected(seeded.scenario)).max() > LARGEST:
        return "another result"
    if weights() != before:
        return "weights elsewhere"
    return "more memory held" if seeded.fault is frames_kept and control().allocated() - held > 100_000 else ""


@pytest.mark.parametrize("seeded", SEEDED, ids=lambda each: f"{each.scenario.__name__}-{each.memory}")
def test_without_a_fault_all_is_well(seeded: Seeded, accelerator: Control) -> None:
    """Each scenario makes on the device what it makes on the processor, and leaves what was there."""
    assert "" == wrong(seeded)
    assert accelerator.operators_on[0] > 100


@pytest.mark.parametrize("seeded", SEEDED, ids=lambda each: each.fault.__name__)
def test_a_fault_is_noticed(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fault the scenario does not pass on the device; what a processor makes stays the same."""
    reference = expected(seeded.scenario)
    seeded.fault(monkeypatch)

    assert "" != wrong(seeded)
    assert reference is expected(seeded.scenario)
