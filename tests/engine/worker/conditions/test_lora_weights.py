"""The change that a LoRA makes to a layer, for every layout and every way to state a scale, compared with its definition."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import makers
from lora_changes import (
    ATTENTION,
    LAYERS,
    LAYOUTS,
    TEXT,
    change,
    kohya,
    kohya_pickle,
    peft,
    peft_tensors,
    scaled,
    weight_of,
)
from octabox.engine.worker.conditions.lora import Loras
from octabox.errors import IncompatibleAdapterError, IncompatibleWeightsError
from octabox.types import AdapterChoice
from trained import pipeline


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("matrix", [0, 1])
def test_a_matrix_without_its_other_one_is_refused(
    pipe: Any, loras: Loras, tmp_path: Path, layout: Any, matrix: int
) -> None:
    """The libraries would set the other one to zeros, or at random; the error names the LoRA and the tensor."""
    source = layout(tmp_path, scaled(pipe, "plain"))
    file = source if source.is_file() else next(source.glob("*.safetensors"))
    tensors = load_file(file) if file.suffix == ".safetensors" else torch.load(file)
    tensors = tensors.get("state_dict", tensors)
    name = [each for each in sorted(tensors) if "lora" in each and each.endswith(".weight")][matrix]
    del tensors[name]
    save_file(tensors, tmp_path / "half.safetensors")

    with pytest.raises(IncompatibleAdapterError, match="LoRA 'half' lacks the other matrix of"):
        loras.apply([AdapterChoice(str(tmp_path / "half.safetensors"), name="half")])


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
