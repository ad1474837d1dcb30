"""Files in float8 with scales, as ComfyUI has them, are loaded as the weights that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import makers
from ldm_layout import save_single_file, tiny_sd
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.errors import IncompatibleWeightsError

#: The largest number of float8, and by how much its numbers differ from those they stand for.
LARGEST, TOLERANCE = 448.0, 0.07

#: A layer of attention of the tiny transformer.
LAYER = "transformer_blocks.0.attn.to_q.weight"


def scaled(tensors: dict[str, torch.Tensor], end: str, *, rows: bool = False) -> dict[str, torch.Tensor]:
    """Return tensors whose matrices are in float8 with scales, one for each or for each of its rows."""
    made = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or not name.endswith(".weight") or "emb" in name:
            made[name] = tensor.contiguous()
            continue
        largest = tensor.abs().amax(1, keepdim=True) if rows else tensor.abs().max()
        scale = largest.clamp(min=1e-9) / LARGEST
        made[name] = (tensor / scale).to(torch.float8_e4m3fn)
        made[name.removesuffix(".weight") + end] = scale
        made[name.removesuffix(".weight") + ".scale_input"] = torch.ones(())
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny Flux model."""
    place = tmp_path_factory.mktemp("flux")
    makers.pipelines()["FluxPipeline"].make().save_pretrained(place)
    return place


def load_with(folder: Path, file: Path) -> Any:
    """Return the transformer of the model with that of a file."""
    transformer = ComponentConfig(model=str(file))
    config = ModelConfig(name="x", model=str(folder), components={"transformer": transformer})
    return load(config, "FluxPipeline", WorkerOptions(device="cpu")).pipeline.transformer


@pytest.mark.parametrize(("end", "rows"), [(".scale_weight", False), (".weight_scale", False), (".weight_scale", True)])
def test_scales_are_multiplied_into_the_weights(folder: Path, tmp_path: Path, end: str, rows: bool) -> None:
    """A component in a file has its weights again, in the model's dtype."""
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(scaled(weights, end, rows=rows), tmp_path / "x.safetensors")
    state = load_with(folder, tmp_path / "x.safetensors").state_dict()

    assert weights.keys() == state.keys()
    assert all(torch.float32 == each.dtype for each in state.values())
    for name, tensor in weights.items():
        assert torch.allclose(tensor, state[name], rtol=TOLERANCE, atol=float(tensor.abs().max()) / 256)


def test_a_whole_model(tmp_path: Path) -> None:
    """The scales of all components in one file are applied, under the names that they were published with."""
    pipe = tiny_sd()
    pipe.save_pretrained(tmp_path / "whole")
    save_single_file(pipe, tmp_path / "plain.safetensors")
    save_file(scaled(load_file(tmp_path / "plain.safetensors"), ".scale_weight"), tmp_path / "x.safetensors")
    config = ModelConfig(name="x", model=str(tmp_path / "x.safetensors"), config=str(tmp_path / "whole"))
    loaded = load(config, "StableDiffusionPipeline", WorkerOptions(device="cpu")).pipeline

    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    expected, found = pipe.unet.state_dict()[name], loaded.unet.state_dict()[name]
    assert torch.allclose(expected, found, rtol=TOLERANCE, atol=float(expected.abs().max()) / 256)


def in_blocks(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors, one of which has a scale for each block of its numbers."""
    return tensors | {LAYER: tensors[LAYER].to(torch.float8_e4m3fn), LAYER + "_scale": torch.ones(32, 2)}


def packed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors, one of which holds packed numbers."""
    return tensors | {LAYER: torch.zeros(32, 16, dtype=torch.uint8), LAYER + "_scale": torch.ones(())}


@pytest.mark.parametrize("change", [in_blocks, packed])
def test_other_formats_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    """The error names the weight, where diffusers would take its numbers as they are."""
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(change(weights), tmp_path / "x.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=f"{LAYER} is packed"):
        load_with(folder, tmp_path / "x.safetensors")


def test_a_folder_with_scales_is_refused(tmp_path: Path) -> None:
    """Diffusers does not apply them there either."""
    pipe = makers.pipelines()["FluxPipeline"].make()
    pipe.save_pretrained(tmp_path)
    file = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(scaled(weights, ".weight_scale"), file, {"format": "pt"})

    with pytest.raises(IncompatibleWeightsError, match="quantized with scales"):
        load(ModelConfig(name="x", model=str(tmp_path)), "FluxPipeline", WorkerOptions(device="cpu"))
