"""What is stated of a model on the Hub is what a download of it would fetch."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from safetensors.numpy import save

from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.hub.browsing.description import FoundModel, describe_model
from octabox.hub.browsing.inspection import inspect_repository
from octabox.hub.browsing.memory import Machine
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan

MACHINE = Machine(2**34, accelerator=False, host=2**34)
DEMO = folder_files(demo.FOLDER)


def weights(shape: tuple[int, ...] = (8,), name: str = "a") -> bytes:
    """Return a file with one tensor."""
    content: bytes = save({name: np.zeros(shape, "float32")})
    return content


LORA = save({"unet.a.lora_A.weight": np.zeros((4, 8), "float32"), "unet.a.lora_B.weight": np.zeros((8, 4), "float32")})

#: Layouts that repositories on the Hub have: with folders that are no components, with components that the index leaves out,
#: of a component, and of single files.
LAYOUTS: dict[str, Mapping[str, bytes]] = {
    "other folders": {
        **DEMO,
        "vae_1_0/diffusion_pytorch_model.safetensors": weights((9, 9)),
        "vae_1_0/config.json": b"{}",
        "vae_decoder/model.safetensors": weights((9, 9)),
    },
    "variants": {**DEMO, "unet/diffusion_pytorch_model.fp16.safetensors": weights((5, 5))},
    "no component": {
        **DEMO,
        "model_index.json": json.dumps(
            {**json.loads(DEMO["model_index.json"]), "safety_checker": [None, None]}
        ).encode(),
        "safety_checker/model.safetensors": weights((9, 9)),
    },
    "the same twice": {**DEMO, "unet/diffusion_pytorch_model.safetensors": next(
        content for name, content in DEMO.items() if name.startswith("vae/") and name.endswith(".safetensors")
    )},
    "component": {"config.json": b"{}", "diffusion_pytorch_model.safetensors": weights(), "other/a.safetensors": weights()},
    "one file": {"a.safetensors": weights()},
    "two formats": {"a.ckpt": b"0", "a.safetensors": weights()},
}  # fmt: skip


def describe(hub: LocalHub, files: Mapping[str, bytes], **about: object) -> FoundModel:
    """Return what is known of a repository with some files."""
    hub.add("org/one", files, **about)
    return describe_model("org/one", MACHINE, lambda _: True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sum_is_that_of_the_plan(local_hub: LocalHub, layout: str) -> None:
    """Size and number of files are those of a download, and parameters, memory and fits are of the same files."""
    found = describe(local_hub, LAYOUTS[layout])
    assert not CachedRepo("org/one").folder.exists()
    plan = make_plan(PullRequest("org/one"))
    shown = inspect_repository("org/one", MACHINE, lambda _: True, lambda _: ())

    assert (plan.size, len(plan.files)) == (found.size, found.files)
    of_plan = sum(
        int(np.prod(tensor["shape"]))
        for each in plan.files
        if each.path.endswith(".safetensors")
        for tensor in header_of(LAYOUTS[layout][each.path]).values()
    )
    assert (of_plan, plan.size, found.memory, found.fits) == (found.parameters, shown.size, shown.memory, shown.fits)


def header_of(content: bytes) -> dict[str, dict[str, list[int]]]:
    """Return the tensors of a file by name."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}


def test_each_folder_counts_without_an_index(local_hub: LocalHub) -> None:
    """That of a gated model cannot be read before its terms are accepted, and an invalid one names no component."""
    files = {**DEMO, "more/model.safetensors": weights((9, 9))}
    everything = sum(map(len, {content: content for content in files.values()}))

    assert everything == describe(local_hub, files, gated="auto").size
    invalid = {**files, "model_index.json": b"{}"}
    assert everything - len(DEMO["model_index.json"]) + 2 == describe(local_hub, invalid).size


@pytest.mark.parametrize(
    ("content", "tags", "kind"),
    [
        (LORA, [], "lora"),
        (LORA, ["lora"], "lora"),
        (LORA, ["textual_inversion"], "lora"),
        (weights((2, 64), "<star>"), [], "embedding"),
        (weights((2, 3, 4)), [], "checkpoint"),
        (weights((2, 3, 4)), ["lora"], "lora"),
        (b"0" * 9, [], "checkpoint"),
    ],
)
def test_the_kind_of_a_file_is_that_of_its_tensors(
    local_hub: LocalHub, content: bytes, tags: list[str], kind: str
) -> None:
    """Neither its name nor the tags of its repository need to state it; without a header, they do."""
    found = describe(local_hub, {"my_style.safetensors": content}, tags=tags)

    assert kind == found.kind
    assert (kind in ("lora", "embedding") or None) == found.served


@pytest.mark.parametrize("names", [("a.safetensors", "b.safetensors"), ("a.safetensors",), ("a.ckpt", "a.safetensors")])
def test_files_to_choose_from_are_listed(local_hub: LocalHub, names: tuple[str, ...]) -> None:
    """The size is that of one of them."""
    found = describe(local_hub, dict.fromkeys(names, weights()))

    assert (sorted(names) if len(names) > 1 else []) == sorted(found.choices)
    assert (len(weights()), 1) == (found.size, found.files)
