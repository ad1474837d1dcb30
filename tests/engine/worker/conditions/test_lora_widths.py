"""LoRAs that are wider than a layer of the model, and those with weights of normalization layers, leave no trace in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import makers
from makers.dit import flux
from octabox.engine.worker.conditions.lora import Loras
from octabox.errors import AdapterNotFoundError, IncompatibleAdapterError
from octabox.types import AdapterChoice

#: A layer that a LoRA for control images is twice as wide as, a layer of attention, and the norm of its queries.
EMBEDDER, QUERY = "transformer.x_embedder", "transformer.transformer_blocks.0.attn.to_q"
NORM = "transformer.transformer_blocks.0.attn.norm_q.weight"

#: Width of the model, and of its tokens.
WIDTH, TOKEN = 32, 16


def write(file: Path, layers: dict[str, int], **others: torch.Tensor) -> AdapterChoice:
    """Write a LoRA that changes layers which take this many numbers, and return it as a request names it."""
    torch.manual_seed(1)
    tensors = {f"{layer}.lora_A.weight": torch.randn(4, width) for layer, width in layers.items()}
    tensors |= {f"{layer}.lora_B.weight": torch.randn(WIDTH, 4) for layer in layers}
    save_file(tensors | others, file)
    return AdapterChoice(str(file), name=file.stem)


def image(pipe: Any, **inputs: Any) -> bytes:
    """Return an image of one step."""
    options = {"num_inference_steps": 1, "max_sequence_length": 16, "width": 32, "height": 32} | inputs
    pipe.set_progress_bar_config(disable=True)
    drawn: Image.Image = pipe("a star", generator=torch.Generator().manual_seed(0), **options).images[0]
    return drawn.tobytes()


@pytest.fixture
def pipe() -> Any:
    """Return a tiny Flux pipeline."""
    return makers.pipelines()["FluxPipeline"].make()


@pytest.mark.parametrize("held", [False, True])
def test_a_wider_one_is_refused(pipe: Any, tmp_path: Path, held: bool) -> None:
    """The error names the pipeline for control images, and the next call is as if nothing had been asked for."""
    loras, plain = Loras(pipe), image(pipe)
    others = [write(tmp_path / "style.safetensors", {QUERY: WIDTH})] if held else []
    loras.apply(others)
    with pytest.raises(IncompatibleAdapterError, match=r"32x32.*16x32.*`pipeline: FluxControlPipeline`"):
        loras.apply([*others, write(tmp_path / "canny.safetensors", {EMBEDDER: 2 * TOKEN, QUERY: WIDTH})])
    loras.apply([])

    assert plain == image(pipe)
    assert TOKEN == pipe.transformer.x_embedder.in_features == pipe.transformer.config.in_channels


def test_one_that_returns_more_is_refused(pipe: Any, tmp_path: Path) -> None:
    """Diffusers would replace a layer that returns fewer numbers too."""
    file = tmp_path / "large.safetensors"
    save_file({f"{QUERY}.lora_A.weight": torch.ones(4, WIDTH), f"{QUERY}.lora_B.weight": torch.ones(64, 4)}, file)

    with pytest.raises(IncompatibleAdapterError, match="32x64"):
        Loras(pipe).apply([AdapterChoice(str(file))])
    assert WIDTH == pipe.transformer.transformer_blocks[0].attn.to_q.out_features


def test_weights_of_norms_are_not_used(pipe: Any, tmp_path: Path) -> None:
    """A warning names them, and the model keeps its own."""
    loras, norm = Loras(pipe), pipe.transformer.transformer_blocks[0].attn.norm_q.weight
    before = norm.detach().clone()
    choice = write(tmp_path / "style.safetensors", {QUERY: WIDTH}, **{NORM: torch.full_like(before, 3)})
    reports, warnings = loras.apply([choice])

    assert (3, 2) == (reports[0].keys, reports[0].used)
    assert NORM in warnings[0]
    assert torch.equal(before, norm)


def control_inputs() -> dict[str, Any]:
    """Return a control image as a parameter."""
    return {"control_image": Image.new("RGB", (32, 32), "red")}


@pytest.mark.parametrize("then", ["nothing", "another", "missing", "clear"])
def test_a_control_pipeline_is_widened_for_as_long_as_it_needs(tmp_path: Path, then: str) -> None:
    """Weights without control channels take control images by a LoRA, and are the original ones without it."""
    pipe = replace(makers.pipelines()["FluxControlPipeline"], parts=flux.parts).make()
    loras, layer = Loras(pipe), pipe.transformer.x_embedder
    before = layer.weight.detach().clone()
    control = write(tmp_path / "canny.safetensors", {EMBEDDER: 2 * TOKEN})
    style = write(tmp_path / "style.safetensors", {QUERY: WIDTH})
    loras.apply([style, control])
    first = image(pipe, **control_inputs())
    assert loras.state
    if then == "clear":
        loras.clear()
    elif then == "missing":
        with pytest.raises(AdapterNotFoundError):
            loras.apply([control, AdapterChoice("/nowhere/style.safetensors")])
    else:
        loras.apply([style] if then == "another" else [])

    now = pipe.transformer.x_embedder
    assert (TOKEN, TOKEN) == (now.in_features, pipe.transformer.config.in_channels)
    assert torch.equal(before, now.weight)
    assert bool(loras.state) == (then == "another")
    loras.apply([style, control])
    assert first == image(pipe, **control_inputs())


def test_a_restored_layer_is_where_the_model_is_now(tmp_path: Path) -> None:
    """A LoRA of the configuration is loaded before the model is placed on its device; a dtype stands for that here."""
    pipe = replace(makers.pipelines()["FluxControlPipeline"], parts=flux.parts).make()
    loras = Loras(pipe)
    loras.apply([write(tmp_path / "canny.safetensors", {EMBEDDER: 2 * TOKEN})], unmerged=True)
    pipe.transformer.to(torch.float64)
    loras.apply([])

    assert [] == [name for name, each in pipe.transformer.named_parameters() if each.dtype != torch.float64]
