"""Networks of LyCORIS as the plain LoRAs that they are equal to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from octabox.engine.worker.conditions.lora import Loras
from octabox.engine.worker.conditions.lycoris import convert_lycoris
from octabox.errors import IncompatibleAdapterError
from octabox.types import AdapterChoice
from trained import pipeline

pytestmark = pytest.mark.slow

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
PLACE = f"lora_unet_{LAYER.replace('.', '_')}"

#: Factors of a change of a matrix of 96 by 96, by kind; rank 2, and an alpha of 1.
LOHA = {"hada_w1_a": (96, 2), "hada_w1_b": (2, 96), "hada_w2_a": (96, 2), "hada_w2_b": (2, 96)}
LOKR = {"lokr_w1": (4, 8), "lokr_w2_a": (24, 2), "lokr_w2_b": (2, 12)}
LOKR_BOTH = {"lokr_w1_a": (4, 2), "lokr_w1_b": (2, 8), "lokr_w2_a": (24, 2), "lokr_w2_b": (2, 12)}
LOKR_WHOLE = {"lokr_w1": (4, 8), "lokr_w2": (24, 12)}


def factors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return numbers for factors."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) / 4 for name, shape in shapes.items()}


def change(made: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the change of the matrix that LyCORIS itself would make of the factors, by its definition."""
    if "hada_w1_a" in made:
        return (made["hada_w1_a"] @ made["hada_w1_b"]) * (made["hada_w2_a"] @ made["hada_w2_b"]) / 2
    left = made["lokr_w1"] if "lokr_w1" in made else made["lokr_w1_a"] @ made["lokr_w1_b"]
    right = made["lokr_w2"] if "lokr_w2" in made else made["lokr_w2_a"] @ made["lokr_w2_b"]
    return torch.kron(left, right) / (1 if "lokr_w2" in made else 2)


def save(folder: Path, made: Mapping[str, torch.Tensor], place: str = PLACE) -> Path:
    """Write a network of one layer."""
    file = folder / "x.safetensors"
    save_file({f"{place}.{name}": tensor for name, tensor in {**made, "alpha": torch.tensor(1.0)}.items()}, file)
    return file


@pytest.mark.parametrize("shapes", [LOHA, LOKR, LOKR_BOTH, LOKR_WHOLE])
def test_the_change_is_the_same(tmp_path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A layer of the model answers as if the change had been added to its weights, and at half the strength half of it."""
    made = factors(shapes)
    pipe: Any = pipeline()
    layer, loras = pipe.unet.get_submodule(LAYER), Loras(pipe)
    given = torch.randn(3, 96, generator=torch.Generator().manual_seed(1))
    plain, more = layer(given), given @ change(made).T
    for weight in (1.0, 0.5):
        reports, warnings = loras.apply([AdapterChoice(str(save(tmp_path, made)), weight)])
        answer = pipe.unet.get_submodule(LAYER)(given)

        assert ([], len(made), len(made)) == (warnings, reports[0].keys, reports[0].used)
        assert torch.allclose(plain + weight * more, answer, atol=1e-4)
    loras.apply([])
    assert torch.equal(plain, pipe.unet.get_submodule(LAYER)(given))


def test_a_convolution_of_a_loha(tmp_path: Path) -> None:
    """Its flat factors change the flat weights of the convolution."""
    made = factors({"hada_w1_a": (48, 2), "hada_w1_b": (2, 48 * 9), "hada_w2_a": (48, 2), "hada_w2_b": (2, 48 * 9)})
    place = "down_blocks.0.resnets.0.conv1"
    pipe: Any = pipeline()
    given = torch.randn(1, 48, 4, 4, generator=torch.Generator().manual_seed(1))
    layer = pipe.unet.get_submodule(place)
    expected = layer(given) + torch.nn.functional.conv2d(given, change(made).reshape(48, 48, 3, 3), padding=1)
    file = save(tmp_path, made, f"lora_unet_{place.replace('.', '_')}")
    Loras(pipe).apply([AdapterChoice(str(file))])

    assert torch.allclose(expected, pipe.unet.get_submodule(place)(given), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("LoHa", {**LOHA, "hada_t1": (2, 2, 3, 3)}),
        ("LoHa", {"hada_w1_a": (96, 2)}),
        ("LoHa", {**LOHA, "hada_w1_b": (3, 96)}),
        ("LoHa", {**LOHA, "diff": (3, 96)}),
        ("LoKr", {**LOKR, "lokr_t2": (2, 2, 3, 3)}),
        ("LoKr", {"lokr_w1": (4, 8), "lokr_w2": (24, 12, 3, 3)}),
        ("LoKr", {"lokr_w2": (24, 12)}),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, kind: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """The error names the kind and what was found."""
    with pytest.raises(IncompatibleAdapterError, match=f"'x' is a {kind} of a form"):
        convert_lycoris(load_file(save(tmp_path, factors(shapes))), kind, "x", {})


def test_plain_layers_stay(tmp_path: Path) -> None:
    """A network may have factors in some layers and plain matrices in others."""
    plain = {f"other.{name}": torch.ones(2, 2) for name in ("lora_up.weight", "lora_down.weight", "alpha")}
    converted = convert_lycoris({**load_file(save(tmp_path, factors(LOHA))), **plain}, "LoHa", "x", {})

    assert {f"{layer}.{name.partition('.')[2]}" for layer in (PLACE, "other") for name in plain} == {*converted}
    assert all(torch.equal(converted[name], tensor) for name, tensor in plain.items())
