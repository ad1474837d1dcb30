"""Which files of a repository a model needs."""

from __future__ import annotations

import pytest

from octabox.hub.selection import essential_files, kind_of_repository, select_files, variants_of, weight_names

INDEX = {"_class_name": "X", "unet": ["diffusers", "U"], "text_encoder": ["transformers", "T"], "none": [None, None]}
D, T = "unet/diffusion_pytorch_model", "text_encoder/model"


def weights(names: list[str], variant: str | None = None, omit: tuple[str, ...] = ()) -> set[str]:
    """Return the selected weights."""
    selected = select_files(["model_index.json", *names], INDEX, variant, omit)
    return {name for name in selected if "/" in name and name.endswith((".safetensors", ".bin", ".json"))}


@pytest.mark.parametrize(
    ("names", "variant", "selected"),
    [
        ([f"{D}.safetensors", f"{D}.bin"], None, {f"{D}.safetensors"}),
        ([f"{D}.bin", "unet/weights.msgpack", "unet/model.onnx"], None, {f"{D}.bin"}),
        ([f"{D}.safetensors", f"{D}.fp16.safetensors"], None, {f"{D}.safetensors"}),
        ([f"{D}.safetensors", f"{D}.fp16.safetensors"], "fp16", {f"{D}.fp16.safetensors"}),
        ([f"{D}.safetensors", f"{T}.fp16.safetensors"], None, {f"{D}.safetensors", f"{T}.fp16.safetensors"}),
        ([f"{D}.bin", f"{D}.fp16.safetensors", f"{D}.fp16.bin"], "fp16", {f"{D}.fp16.safetensors"}),
        (
            [f"{T}-00001-of-00002.safetensors", f"{T}-00002-of-00002.safetensors", f"{T}.safetensors.index.json"],
            None,
            {f"{T}-00001-of-00002.safetensors", f"{T}-00002-of-00002.safetensors", f"{T}.safetensors.index.json"},
        ),
        ([f"{T}-00001-of-00001.safetensors", f"{T}.safetensors.index.json", f"{T}.safetensors"], None, {f"{T}.safetensors"}),
        (
            [f"{D}-00001-of-00001.safetensors", f"{D}.safetensors.index.json", f"{D}.safetensors"],
            None,
            {f"{D}-00001-of-00001.safetensors", f"{D}.safetensors.index.json"},
        ),
        (
            [f"{T}.fp16-00001-of-00001.safetensors", f"{T}.safetensors.index.fp16.json"],
            "fp16",
            {f"{T}.fp16-00001-of-00001.safetensors", f"{T}.safetensors.index.fp16.json"},
        ),
        (["none/model.safetensors", "other/model.safetensors", "all.safetensors"], None, set()),
    ],
)  # fmt: skip
def test_one_variant_in_one_format(names: list[str], variant: str | None, selected: set[str]) -> None:
    """Safetensors before pickles, the default variant unless another is asked for or is the only one."""
    assert selected == weights(names, variant)


def test_components_from_elsewhere_are_left_out() -> None:
    """What the configuration replaces is not downloaded."""
    assert {f"{T}.safetensors"} == weights([f"{D}.safetensors", f"{T}.safetensors"], omit=("unet",))


def test_small_files_come_along() -> None:
    """Configurations and tokenizers are needed; pictures and cards inside components are not."""
    names = ["model_index.json", "unet/config.json", "text_encoder/spiece.model", "unet/README.md", "unet/a.png"]

    assert ["model_index.json", "text_encoder/spiece.model", "unet/config.json"] == sorted(select_files(names, INDEX))


def test_a_component_alone() -> None:
    """It has its weights at the top."""
    names = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin", "x/model.safetensors"]

    assert ["config.json", "diffusion_pytorch_model.safetensors"] == select_files(names, None)


def test_what_the_library_does_not_download_is_not_essential() -> None:
    """A cache that diffusers filled is complete without the card."""
    names = [
        "model_index.json",
        "README.md",
        f"{D}.safetensors",
        "unet/config.json",
        "unet/notes.txt",
        "tokenizer/a.txt",
    ]

    assert {"model_index.json", f"{D}.safetensors", "unet/config.json", "tokenizer/a.txt"} == {*essential_files(names)}


@pytest.mark.parametrize(
    ("names", "tags", "kind"),
    [
        (["model_index.json", "x.safetensors"], [], "diffusers"),
        (["pytorch_lora_weights.safetensors"], [], "lora"),
        (["a.safetensors"], ["lora"], "lora"),
        (["learned_embeds.bin"], [], "embedding"),
        (["config.json", "diffusion_pytorch_model.safetensors"], [], "component"),
        (["model-q4.gguf"], [], "gguf"),
        (["v1.safetensors", "v1.ckpt"], [], "checkpoint"),
        (["README.md"], [], "other"),
    ],
)
def test_kinds(names: list[str], tags: list[str], kind: str) -> None:
    """Names and tags show what a repository is."""
    assert kind == kind_of_repository(names, tags)


def test_lists() -> None:
    """Safe files come first, and the most common variant."""
    assert ["b.safetensors", "a.ckpt"] == weight_names(["a.ckpt", "README.md", "b.safetensors"])
    assert ["fp16", "ema"] == variants_of([f"{D}.fp16.bin", f"{D}.ema.bin", f"{T}.fp16.bin", f"{D}.bin"])
