"""Weights that hold LoRAs in place of a model's own: the same images, nothing computed from them, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from octabox.engine.worker.conditions.lora import Loras
from octabox.engine.worker.placement.offload import Placement
from octabox.types import AdapterChoice
from trained import FRAME, HEARTS, distance, image, pipeline

pytestmark = pytest.mark.slow

BOTH = [AdapterChoice(HEARTS, 0.8), AdapterChoice(FRAME, 0.9)]


@pytest.fixture(scope="module")
def pipe() -> Any:
    """Return the embedded model, which all tests share."""
    return pipeline()


@pytest.fixture
def loras(pipe: Any) -> Iterator[Loras]:
    """Return what applies LoRAs to the model; in the end it holds none."""
    loras = Loras(pipe)
    yield loras
    loras.clear()


def weights(pipe: Any) -> dict[str, tuple[int, int, bytes]]:
    """Return where the weights of a model are, and what they hold."""
    return {
        name: (id(weight), weight.data_ptr(), weight.detach().numpy().tobytes())
        for part in (pipe.unet, pipe.text_encoder)
        for name, weight in part.named_parameters()
    }


def beside(pipe: Any) -> int:
    """Return how many layers of a model have LoRAs beside them."""
    return sum(isinstance(layer, BaseTunerLayer) for part in (pipe.unet, pipe.text_encoder) for layer in part.modules())


def test_the_models_own_weights_come_back(pipe: Any, loras: Loras) -> None:
    """The same tensors at the same place, whatever was asked for in between; while a LoRA is on they are others."""
    before = weights(pipe)
    for choices in (BOTH, BOTH[:1], [], BOTH, BOTH[1:]):
        loras.apply(choices)
        assert 0 == beside(pipe)
        assert bool(choices) == (before != weights(pipe))
    loras.apply([])

    assert before == weights(pipe)


def test_sums_draw_what_loras_beside_their_layers_draw(pipe: Any, loras: Loras) -> None:
    """The two ways differ by rounding alone, and each begins afresh after the other."""
    made = []
    for apart in (False, True, False, True):
        loras.apply(BOTH, unmerged=apart)
        assert apart == bool(beside(pipe))
        made.append(image(pipe))
    loras.apply([])

    assert made[0].tobytes() == made[2].tobytes()
    assert made[1].tobytes() == made[3].tobytes()
    assert 0.5 > distance(made[0], made[1])


def test_the_same_again_is_as_it_was(pipe: Any, loras: Loras) -> None:
    """Nothing is computed for a call that asks for what is on already."""
    loras.apply(BOTH)
    first = weights(pipe)
    loras.apply(list(reversed(BOTH)))

    assert first == weights(pipe)


@pytest.mark.parametrize("reason", ["size", "moved", "numbers"])
def test_where_weights_cannot_be_exchanged(pipe: Any, loras: Loras, reason: str) -> None:
    """Too many of them, parts that move between devices, packed numbers: LoRAs stay beside their layers."""
    loras._placement = Placement("model_cpu_offload", "meta" if reason == "moved" else "cpu")
    loras._layers._max_bytes = 0 if reason == "size" else 2**30
    layer = pipe.unet.down_blocks[0].resnets[0].conv1
    before, plain = weights(pipe), image(pipe, steps=2)
    if reason == "numbers":
        layer.weight.data = layer.weight.data.double()
    loras.apply(BOTH)
    assert beside(pipe)
    loras.apply([])
    layer.weight.data = layer.weight.data.float()

    assert (reason == "moved") == bool(beside(pipe))
    assert plain.tobytes() == image(pipe, steps=2).tobytes()
    loras.clear()
    assert set(before) == set(weights(pipe))


def test_a_call_may_scale_them_itself(pipe: Any, loras: Loras) -> None:
    """A scale of 0 in the call's own parameter is the image without; LoRAs must then stand beside their layers."""
    plain = image(pipe, steps=3)
    loras.apply(BOTH, unmerged=True)
    generator = torch.Generator().manual_seed(0)
    made = pipe(
        "a red circle on a white background",
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=generator,
        cross_attention_kwargs={"scale": 0.0},
    ).images[0]

    assert 0.01 > distance(plain, made)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_original_weights_follow_a_model_that_is_moved(dtype: torch.dtype) -> None:
    """Where its dtype changes while LoRAs are merged, all its weights have the new one without them too."""
    pipe = pipeline()
    expected = {name: weight.to(dtype) for name, weight in pipe.unet.named_parameters()}
    loras = Loras(pipe)
    loras.apply(BOTH[:1])
    pipe.unet.to(dtype)
    loras.clear()

    found = dict(pipe.unet.named_parameters())
    assert set(expected) == set(found)
    assert all(torch.equal(each, found[name]) for name, each in expected.items())
