"""The change that a LoRA makes to a layer, for every layout and every way to state a scale, compared with its definition."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import makers
from octabox.engine.worker.conditions.lora import Loras
from octabox.errors import IncompatibleAdapterError, IncompatibleWeightsError
from octabox.types import AdapterChoice
from trained import pipeline

Array = NDArray[np.float32]

#: Layers of three kinds, by component.
ATTENTION = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
OUTPUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONVOLUTION = "unet.down_blocks.0.resnets.0.conv1"
TEXT = "text_encoder.encoder.layers.0.self_attn.q_proj"
LAYERS = (ATTENTION, OUTPUT, CONVOLUTION, TEXT)


@dataclass
class Change:
    """What a LoRA states: its matrices by layer, and what scales them."""

    matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]
    alphas: dict[str, float] = field(default_factory=dict)
    magnitudes: dict[str, torch.Tensor] = field(default_factory=dict)
    rslora: bool = False

    def expected(self, layer: str, original: Array, weight: float = 1.0) -> Array:
        """Return a layer's weight with the LoRA, by the definitions of LoRA, rsLoRA and DoRA."""
        up, down = (each.numpy() for each in self.matrices[layer])
        rank = len(down)
        divisor = math.sqrt(rank) if self.rslora else rank
        scale = self.alphas[layer] / divisor if layer in self.alphas else 1.0
        flat = original.reshape(len(original), -1)
        changed: Array = flat + weight * scale * up.reshape(len(up), rank) @ down.reshape(rank, -1)
        if layer in self.magnitudes:
            changed = changed / np.linalg.norm(changed, axis=1, keepdims=True) * self.magnitudes[layer].numpy()[:, None]
        return changed.reshape(original.shape)


@pytest.fixture(scope="module")
def pipe() -> Any:
    """Return the embedded model, which all tests share: each must leave it as it was."""
    return pipeline()


@pytest.fixture
def loras(pipe: Any) -> Any:
    """Return what applies LoRAs to the model; in the end it holds none."""
    loras = Loras(pipe)
    yield loras
    loras.clear()


def change(pipe: Any, ranks: Mapping[str, int] | None = None, **stated: Any) -> Change:
    """Return matrices for the layers, of rank 4 where nothing else is stated."""
    generator = torch.Generator().manual_seed(0)
    matrices = {}
    for layer in LAYERS:
        shape, rank = weight_of(pipe, layer).shape, (ranks or {}).get(layer, 4)
        size = (1, 1) if len(shape) > 2 else ()
        up, down = (
            torch.randn(shape[0], rank, *size, generator=generator),
            torch.randn(rank, *shape[1:], generator=generator),
        )
        matrices[layer] = (up / 20, down / 20)
    return Change(matrices, **stated)


def weight_of(pipe: Any, layer: str) -> Array:
    """Return the weight that a layer acts with: its answers to unit vectors, or to images of one pixel."""
    component, _, path = layer.partition(".")
    module = getattr(pipe, component).get_submodule(path)
    base = getattr(module, "base_layer", module)
    bias = 0 if base.bias is None else base.bias
    with torch.no_grad():
        if base.weight.ndim == 2:
            weight: Array = (module(torch.eye(base.weight.shape[1])) - bias).T.numpy()
            return weight
        _, inputs, height, width = base.weight.shape
        units = torch.eye(inputs * height * width).reshape(-1, inputs, height, width)
        pixels: Array = (module(units)[:, :, height // 2, width // 2] - bias).T.numpy()
        kernel: Array = pixels.reshape(base.weight.shape)
        return kernel


def kohya(folder: Path, made: Change) -> Path:
    """Write a LoRA as kohya's trainer does: a tensor for each alpha."""
    tensors: dict[str, torch.Tensor] = {}
    for layer, (up, down) in made.matrices.items():
        name = layer.replace("text_encoder.", "lora_te_text_model.").replace("unet.", "lora_unet_").replace(".", "_")
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        if layer in made.alphas:
            tensors[f"{name}.alpha"] = torch.tensor(made.alphas[layer])
        if layer in made.magnitudes:
            tensors[f"{name}.dora_scale"] = made.magnitudes[layer].reshape(-1, *[1] * (up.ndim - 1))
    save_file(tensors, folder / "kohya.safetensors")
    return folder / "kohya.safetensors"


def kohya_pickle(folder: Path, made: Change) -> Path:
    """Write the same with torch."""
    torch.save({"state_dict": load_file(kohya(folder, made))}, folder / "kohya.pt")
    return folder / "kohya.pt"


def peft_tensors(made: Change, prefix: str = "", up: str = "lora_B", down: str = "lora_A") -> dict[str, torch.Tensor]:
    """Return the tensors of a LoRA in the layouts that separate names by dots."""
    tensors: dict[str, torch.Tensor] = {}
    for layer, matrices in made.matrices.items():
        tensors |= {f"{prefix}{layer}.{up}.weight": matrices[0], f"{prefix}{layer}.{down}.weight": matrices[1]}
        if layer in made.magnitudes:
            shape = (1, -1, 1, 1) if matrices[0].ndim > 2 else (-1,)
            tensors[f"{prefix}{layer}.lora_magnitude_vector"] = made.magnitudes[layer].reshape(shape)
    return tensors


def configuration(made: Change, component: str = "") -> dict[str, Any]:
    """Return the scales of a LoRA as PEFT configures them."""
    alphas = {
        layer.removeprefix(component): alpha for layer, alpha in made.alphas.items() if layer.startswith(component)
    }
    return {"r": 4, "lora_alpha": 4, "alpha_pattern": alphas, "use_rslora": made.rslora}


def peft(folder: Path, made: Change) -> Path:
    """Write a folder as PEFT does: a configuration next to the weights."""
    folder = folder / "peft"
    folder.mkdir()
    save_file(peft_tensors(made), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(configuration(made)))
    return folder


def peft_of_a_unet(folder: Path, made: Change) -> Path:
    """Write a folder as PEFT does for a wrapped UNet, whose names have no component."""
    del made.matrices[TEXT]
    found = peft(folder, made)
    tensors = {name.replace("unet.", "base_model.model.", 1): value for name, value in peft_tensors(made).items()}
    save_file(tensors, found / "adapter_model.safetensors")
    settings = configuration(made, "unet.")
    (found / "adapter_config.json").write_text(json.dumps(settings))
    return found


def diffusers(folder: Path, made: Change) -> Path:
    """Write a LoRA as diffusers does: the configuration of each component is in the metadata."""
    parts = ("unet", "text_encoder")
    flat = {f"{part}.{key}": value for part in parts for key, value in configuration(made, f"{part}.").items()}
    file = folder / "diffusers.safetensors"
    save_file(peft_tensors(made), file, {"format": "pt", "lora_adapter_metadata": json.dumps(flat)})
    return file


def older_diffusers(folder: Path, made: Change) -> Path:
    """Write a LoRA in diffusers' layout before PEFT's, with a configuration next to it."""
    found = peft(folder, made)
    tensors = peft_tensors(made, up="lora.up", down="lora.down")
    tensors = {
        name.replace(".lora.", ".lora_linear_layer.") if name.startswith("text_encoder") else name: value
        for name, value in tensors.items()
    }
    save_file(tensors, found / "adapter_model.safetensors")
    return found


LAYOUTS = (kohya, kohya_pickle, peft, peft_of_a_unet, diffusers, older_diffusers)

#: What may scale a LoRA.
RANKS, ALPHAS = {ATTENTION: 16, TEXT: 2, CONVOLUTION: 8}, {ATTENTION: 2.0, CONVOLUTION: 16.0, TEXT: 1.0}
EVERY_ALPHA = dict.fromkeys(LAYERS, 8.0)


def scaled(pipe: Any, kind: str) -> Change:
    """Return a LoRA that is scaled in one way."""
    magnitudes = {layer: torch.linspace(0.5, 2, len(weight_of(pipe, layer))) for layer in (ATTENTION, CONVOLUTION)}
    return {
        "plain": lambda: change(pipe, alphas=dict.fromkeys(LAYERS, 4.0)),
        "alpha": lambda: change(pipe, alphas=EVERY_ALPHA),
        "alpha pattern": lambda: change(pipe, alphas=EVERY_ALPHA | ALPHAS),
        "rank pattern": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA),
        "both patterns": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA | ALPHAS),
        "DoRA": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA, magnitudes=magnitudes),
        "rsLoRA": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA | ALPHAS, rslora=True),
    }[kind]()


KINDS = ("plain", "alpha", "alpha pattern", "rank pattern", "both patterns", "DoRA", "rsLoRA")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_change_of_each_layer(pipe: Any, loras: Loras, tmp_path: Path, layout: Any, kind: str) -> None:
    """It is that of the file, at full weight and at half of it, and no tensor of the file is unused."""
    if kind == "rsLoRA" and layout in {kohya, kohya_pickle}:
        pytest.skip("the layout has no place for it")
    made = scaled(pipe, kind)
    source = layout(tmp_path, made)
    original = {layer: weight_of(pipe, layer) for layer in made.matrices}
    for weight in (1.0, 0.5):
        reports, warnings = loras.apply([AdapterChoice(str(source), weight)])

        assert ([], reports[0].keys) == (warnings, reports[0].used)
        for layer in made.matrices:
            expected = made.expected(layer, original[layer], weight)
            np.testing.assert_allclose(weight_of(pipe, layer), expected, atol=2e-5, err_msg=layer)
    loras.clear()
    assert all(np.array_equal(original[layer], weight_of(pipe, layer)) for layer in made.matrices)


def test_a_dora_of_weight_0_in_a_component(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """It does not set the magnitudes there."""
    made = scaled(pipe, "DoRA")
    original = weight_of(pipe, ATTENTION)
    loras.apply([AdapterChoice(str(peft(tmp_path, made)), 1.0, {"unet": 0.0})])
    unscaled = weight_of(pipe, ATTENTION)
    loras.clear()

    np.testing.assert_allclose(original, unscaled, atol=1e-6)


def test_magnitudes_of_inputs_are_reported(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """LyCORIS may save a magnitude for each input, which PEFT has no equivalent for."""
    made = change(pipe, magnitudes={})
    file = kohya(tmp_path, made)
    tensors = load_file(file)
    layer = next(name for name in tensors if "to_q.lora_down" in name).partition(".")[0]
    save_file(tensors | {f"{layer}.dora_scale": torch.ones(1, 96)}, file)
    reports, warnings = loras.apply([AdapterChoice(str(file))])

    assert 1 == reports[0].keys - reports[0].used
    assert f"{layer}.dora_scale" in warnings[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lora_A", torch.full((4, 96), torch.nan), "NaN or infinite"),
        ("lora_B", torch.full((96, 4), torch.inf), "NaN or infinite"),
        ("lora_A", torch.zeros(4, 96, dtype=torch.int8), "dtype int8"),
        ("lora_A", torch.zeros(4, 96, dtype=torch.complex64), "dtype complex64"),
    ],
)
def test_damaged_numbers_are_refused(
    pipe: Any, loras: Loras, tmp_path: Path, name: str, value: torch.Tensor, said: str
) -> None:
    """The error names the LoRA and the tensor."""
    tensors = peft_tensors(change(pipe)) | {f"{ATTENTION}.{name}.weight": value}
    torch.save(tensors, tmp_path / "bad.pt")

    with pytest.raises(IncompatibleAdapterError, match=f"'bad' .*{said}.*{ATTENTION}"):
        loras.apply([AdapterChoice(str(tmp_path / "bad.pt"), name="bad")])


def test_another_dtype_in_each_layer(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """Each is applied with the numbers that the file has."""
    made = change(pipe)
    dtypes = dict(zip(LAYERS, (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn), strict=True))
    made.matrices = {
        layer: (up.to(dtypes[layer]), down.to(dtypes[layer])) for layer, (up, down) in made.matrices.items()
    }
    file = kohya(tmp_path, made)
    original = {layer: weight_of(pipe, layer) for layer in LAYERS}
    loras.apply([AdapterChoice(str(file))])
    found = {layer: weight_of(pipe, layer) for layer in LAYERS}
    loras.clear()
    made.matrices = {layer: (up.float(), down.float()) for layer, (up, down) in made.matrices.items()}

    for layer in LAYERS:
        np.testing.assert_allclose(found[layer], made.expected(layer, original[layer]), atol=2e-5, err_msg=layer)


@pytest.mark.parametrize("zero", ["lora_A", "lora_B", "alpha"])
def test_zeros_are_reported(pipe: Any, loras: Loras, tmp_path: Path, zero: str) -> None:
    """A LoRA whose changes are all zero is a warning; a weight of 0 is what was requested."""
    made = change(pipe, alphas=dict.fromkeys(LAYERS, 0.0) if zero == "alpha" else {})
    which = {"lora_B": 0, "lora_A": 1}.get(zero)
    made.matrices = {
        layer: tuple(value * 0 if index == which else value for index, value in enumerate(both))  # type: ignore[misc]
        for layer, both in made.matrices.items()
    }
    file = kohya(tmp_path, made)
    _, warnings = loras.apply([AdapterChoice(str(file), name="zeros")])

    assert ["LoRA 'zeros' changes nothing: all its weights or their scales are zero."] == warnings


@pytest.mark.parametrize("text", ["[]", "{", '{"lora_alpha": "8"}', '{"alpha_pattern": {"(a+)+": 1}}'])
def test_a_damaged_configuration(pipe: Any, loras: Loras, tmp_path: Path, text: str) -> None:
    """It is refused by its path."""
    folder = peft(tmp_path, change(pipe))
    (folder / "adapter_config.json").write_text(text)

    with pytest.raises(IncompatibleWeightsError, match=r"adapter_config\.json"):
        loras.apply([AdapterChoice(str(folder))])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"text_encoder": 0.5}, "."),
        ({"text_encoder": 1.0, "unet": 0.0}, ", and it changes nothing with the weight 0 there."),
        ({"text_encoder": 1.0, "unet": 1.0}, ""),
        ({"text_encoder": 0.0, "unet": 0.5}, ""),
        ({"unet": 0.0}, ""),
    ],
)
def test_a_weight_for_what_it_does_not_change(
    pipe: Any, loras: Loras, tmp_path: Path, weights: dict[str, float], told: str
) -> None:
    """It is a warning, unless nothing else was to be expected: tags have a weight for both parts by habit."""
    made = change(pipe)
    del made.matrices[TEXT]
    _, warnings = loras.apply([AdapterChoice(str(kohya(tmp_path, made)), 1.0, weights, name="style")])

    text = f"LoRA 'style' changes unet, but not text_encoder: the weight for that has no effect{told}"
    assert ([text] if told else []) == warnings


def test_a_configuration_of_another_file(pipe: Any, loras: Loras, tmp_path: Path) -> None:
    """What PEFT saved in the same folder scales its own weights alone."""
    folder = peft(tmp_path, change(pipe, alphas=dict.fromkeys(LAYERS, 32.0), rslora=True))
    made = change(pipe)
    save_file(peft_tensors(made), folder / "style.safetensors")
    original = weight_of(pipe, ATTENTION)
    loras.apply([AdapterChoice(str(folder / "style.safetensors"))])
    beside = weight_of(pipe, ATTENTION)
    (folder / "adapter_model.safetensors").unlink()
    loras.clear()
    loras.apply([AdapterChoice(str(folder / "style.safetensors"))])
    alone = weight_of(pipe, ATTENTION)

    np.testing.assert_allclose(beside, made.expected(ATTENTION, original), atol=2e-5)
    np.testing.assert_allclose(alone, made.expected(ATTENTION, original, 16.0), atol=2e-4)


def test_a_file_with_a_half_for_each_denoiser(tmp_path: Path) -> None:
    """Each half has the weight of its own denoiser, and is loaded nowhere else."""
    pipe = makers.pipelines()["WanPipeline"].make()
    pipe.transformer_2 = copy.deepcopy(pipe.transformer)
    path = "blocks.0.attn1.to_q"
    size = pipe.transformer.get_submodule(path).in_features
    halves: dict[str, torch.Tensor] = {}
    for name, number in (("transformer", 1.0), ("transformer_2", 3.0)):
        halves[f"{name}.{path}.lora_A.weight"] = torch.ones(2, size)
        halves[f"{name}.{path}.lora_B.weight"] = torch.full((size, 2), number)
    save_file(halves, tmp_path / "both.safetensors")
    loras, original = Loras(pipe), weight_of(pipe, f"transformer.{path}")
    for weights, changes in (
        ({}, (2.0, 6.0)),
        ({"transformer": 1.0, "transformer_2": 0.5}, (2.0, 3.0)),
        ({"transformer_2": 0.5}, (2.0, 3.0)),
        ({"transformer": 0.0, "transformer_2": 1.0}, (0.0, 6.0)),
        ({"transformer": 0.5, "transformer_2": 0.0}, (1.0, 0.0)),
    ):
        reports, warnings = loras.apply([AdapterChoice(str(tmp_path / "both.safetensors"), 1.0, weights)])

        assert (4, 4, []) == (reports[0].keys, reports[0].used, warnings)
        for name, expected in zip(("transformer", "transformer_2"), changes, strict=True):
            np.testing.assert_allclose(weight_of(pipe, f"{name}.{path}"), original + expected, atol=1e-5)


def test_several_denoisers(tmp_path: Path) -> None:
    """A LoRA changes those that its names or the request's weights name, otherwise the first one, with a warning."""
    pipe = makers.pipelines()["WanPipeline"].make()
    pipe.transformer_2 = copy.deepcopy(pipe.transformer)
    path = "blocks.0.attn1.to_q"
    size = pipe.transformer.get_submodule(path).in_features
    matrices = {f"{path}.lora_A.weight": torch.ones(2, size), f"{path}.lora_B.weight": torch.ones(size, 2)}
    for name in ("transformer", "transformer_2"):
        save_file({f"{name}.{key}": value for key, value in matrices.items()}, tmp_path / f"{name}.safetensors")
    first, second = (str(tmp_path / f"{name}.safetensors") for name in ("transformer", "transformer_2"))
    loras = Loras(pipe)
    original = weight_of(pipe, f"transformer.{path}")
    for choice, changes, warned in (
        (AdapterChoice(first), (2.0, 0.0), 1),
        (AdapterChoice(second), (0.0, 2.0), 0),
        (AdapterChoice(first, 1.0, {"transformer_2": 0.5}), (0.0, 1.0), 0),
        (AdapterChoice(first, 1.0, {"transformer": 0.5, "transformer_2": 1.0}), (1.0, 2.0), 0),
    ):
        reports, warnings = loras.apply([choice])

        assert (2, 2, warned) == (reports[0].keys, reports[0].used, len(warnings))
        for name, expected in zip(("transformer", "transformer_2"), changes, strict=True):
            np.testing.assert_allclose(weight_of(pipe, f"{name}.{path}"), original + expected, atol=1e-5)
