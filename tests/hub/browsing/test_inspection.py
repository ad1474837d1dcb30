"""The description of what is in the cache while the Hub is not available."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.numpy import save
from safetensors.torch import save_file as torch_save_file

from local_hub import LocalHub
from octabox.errors import DownloadError
from octabox.hub.browsing.cached_models import cached_models
from octabox.hub.browsing.inspection import Inspection, inspect_model, inspect_repository
from octabox.hub.browsing.memory import OVERHEAD, Machine
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import pull

LORA = save({"unet.a.lora_A.weight": np.zeros((4, 8), "float32"), "unet.a.lora_B.weight": np.zeros((8, 4), "float32")})
VAE = "diffusion_pytorch_model.safetensors"


#: Cards whose aliases refer to aliases: with their values expanded, each has more than ten million.
NESTED = (
    "---\nx0: &x0 [mit]\n"
    + "".join(f"x{i}: &x{i} [*x{i - 1}, *x{i - 1}]\n" for i in range(1, 25))
    + "license: {}\n---\n"
)
MERGED = (
    "---\nx0: &x0 {a: b}\n"
    + "".join(f"x{i}: &x{i} {{<<: [*x{i - 1}, *x{i - 1}]}}\n" for i in range(1, 25))
    + "license: mit\n---\n"
)


def inspect(name: str) -> Inspection:
    """Return what is known about a Hub id."""
    return inspect_repository(
        f"org/{name}", Machine(2**34, accelerator=False, host=2**34), lambda _: True, lambda _: ()
    )


def test_everything_in_the_cache_is_described(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component, a LoRA and single files too; what they lack is named, and what is not there is an error."""
    local_hub.add("org/vae", {"config.json": b"{}", VAE: LORA})
    local_hub.add("org/lora", {"pytorch_lora_weights.safetensors": LORA}, tags=["lora"])
    local_hub.add("org/files", {"a.safetensors": b"0" * 9, "b.safetensors": b"1" * 9})
    local_hub.add("org/star", {"learned_embeds.safetensors": LORA})
    for name, file in (("vae", None), ("lora", None), ("files", "a.safetensors")):
        asyncio.run(pull(make_plan(PullRequest(f"org/{name}", file=file))))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    vae, lora, files = inspect("vae"), inspect("lora"), inspect("files")

    assert ["cache"] * 3 == [each.where for each in (vae, lora, files)]
    assert ("component", "lora", "checkpoint") == (vae.kind, lora.kind, files.kind)
    assert [(), (), ()] == [each.missing for each in (vae, lora, files)]
    with pytest.raises(DownloadError, match="org/star is not in the cache"):
        inspect("star")


def test_a_component_without_weights(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not complete in the list either."""
    local_hub.add("org/vae", {"config.json": b"{}", VAE: LORA})
    asyncio.run(pull(make_plan(PullRequest("org/vae"))))
    cached = CachedRepo("org/vae")
    (cached.snapshot(cached.commit() or "") / VAE).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert (VAE,) == inspect("vae").missing
    assert [(False, (VAE,))] == [(each.complete, each.missing) for each in cached_models()]


#: The name of a tensor by which a family is known.
FLUX = "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale"


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(
    ("scale", "dtype", "served"),
    [((), torch.float8_e4m3fn, True), ((32, 2), torch.float8_e4m3fn, False), ((), torch.uint8, False)],
)
def test_a_file_with_scales_that_are_not_supported_is_not_served(
    tmp_path: Path, local_hub: LocalHub, scale: tuple[int, ...], dtype: torch.dtype, served: bool, remote: bool
) -> None:
    """One number for each weight is, and numbers for blocks of it or packed weights are not; on the Hub as on this machine."""
    tensors = {FLUX: torch.zeros(1), "a.weight": torch.zeros(32, 32).to(dtype), "a.weight_scale": torch.ones(scale)}
    file = tmp_path / "x.safetensors"
    torch_save_file(tensors, file)
    local_hub.add("org/scaled", {"x.safetensors": file.read_bytes()})
    source = "org/scaled" if remote else str(file)
    found = inspect_model(source, Machine(2**34, accelerator=False, host=2**34), lambda _: True, lambda _: ())

    assert ("hub" if remote else "file", served) == (found.where, found.served)


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(("accelerator", "width"), [(True, 2), (False, 4)])
def test_float8_takes_the_memory_of_what_it_is_loaded_as(
    tmp_path: Path, local_hub: LocalHub, accelerator: bool, width: int, remote: bool
) -> None:
    """Its weights are multiplied by their scales, and computed in the dtype of the model."""
    file = tmp_path / "x.safetensors"
    torch_save_file({FLUX: torch.zeros(1), "a.weight": torch.zeros(1000, 100).to(torch.float8_e4m3fn)}, file)
    local_hub.add("org/small", {"x.safetensors": file.read_bytes()})
    source = "org/small" if remote else str(file)
    found = inspect_model(source, Machine(2**34, accelerator=accelerator, host=2**34), lambda _: True, lambda _: ())

    assert found.memory is not None
    assert 100_001 * width == pytest.approx(found.memory / OVERHEAD, abs=1)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\ntags:\n- x\n---\n# Text\nlicense: other\n", "mit"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\nlicense:\n- mit\n- apache-2.0\n---\n", "mit, apache-2.0"),
        ("---\nlicense: {a: [\n---\n", None),
        ("# Text", None),
        ("license: mit\n", None),
        ("---\nlicense: 3\n---\n", None),
        ("---\n- license\n---\n", None),
        ("---\nlicense: &a [*a, mit]\n---\n", "mit"),
        (NESTED.format("[*x24]"), None),
        (NESTED.format("mit"), "mit"),
        (MERGED, "mit"),
        (f"---\nlicense: {'[' * 5000}\n---\n", None),
    ],
)
def test_the_licences_in_a_card(tmp_path: Path, card: str, licence: str | None) -> None:
    """A card may have several, in each of the ways of YAML; aliases that would expand without end are not expanded."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "X"}')
    (tmp_path / "README.md").write_text(card)
    machine = Machine(2**34, accelerator=False, host=2**34)

    assert licence == inspect_model(str(tmp_path), machine, lambda _: True, lambda _: ()).licence
