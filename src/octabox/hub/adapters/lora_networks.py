"""Detect the network kind and the layout of an adapter from its tensor names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from octabox.hub.checkpoints.tensors import Shapes

#: Network kinds by a pattern of their tensor names; the first match applies.
KINDS: Mapping[str, re.Pattern[str]] = {
    "LoHa": re.compile(r"\.hada_[wt]\d"),
    "LoKr": re.compile(r"\.lokr_[wt]\d"),
    "OFT": re.compile(r"\.oft_(blocks|diag|r)\b"),
    "GLoRA": re.compile(r"\.[ab][12]\.weight$"),
    "IA3": re.compile(r"\.on_input$"),
    "DoRA": re.compile(r"\.dora_scale$|lora_magnitude_vector"),
    "LoCon in Tucker form": re.compile(r"\.lora_mid\b"),
    "LoRA": re.compile(r"[._]lora[._]|\.lora_(A|B|up|down)\b"),
    "whole differences": re.compile(r"\.diff(_b)?$|\.[wb]_norm$"),
}

#: Layouts by a pattern of their tensor names; the first match applies.
LAYOUTS: Mapping[str, re.Pattern[str]] = {
    "kohya": re.compile(r"^(lora|lycoris)_(unet|te\d?|transformer|prior_unet)_"),
    "peft": re.compile(r"\.lora_[AB]\b"),
    "diffusers": re.compile(r"\.lora[._]|_lora\."),
}

#: Pipeline components by the prefix of tensor names.
PARTS: Mapping[str, str] = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lora_transformer_": "transformer",
    "lycoris_": "unet",
    "diffusion_model.": "transformer",
}

#: Tensors that only scale others.
ALPHA = re.compile(r"\.alpha$")

#: The down projection, from the width of the model to the rank of the adapter.
_DOWN = re.compile(r"lora_A\b|lora_down\b|lora\.down\b|_lora\.down\b|hada_w1_b$|lokr_w1_b$")

#: Cross-attention of a UNet: the second attention of a block.
_CROSS_ATTENTION = re.compile(r"attn2[._](?:processor[._])?to[._][kv]")


def kind_of(names: Iterable[str]) -> str | None:
    """Return the network kind of an adapter; None if it is unknown."""
    names = list(names)
    return next((kind for kind, pattern in KINDS.items() if any(map(pattern.search, names))), None)


def layout_of(names: Iterable[str]) -> str:
    """Return the layout of the tensor names of an adapter."""
    names = list(names)
    return next((layout for layout, pattern in LAYOUTS.items() if any(map(pattern.search, names))), "other")


def weights_of(names: Iterable[str]) -> list[str]:
    """Return the names of tensors with weights, without scaling factors."""
    return [name for name in names if not ALPHA.search(name)]


def parts_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the components that an adapter changes, sorted by name."""
    found = set()
    for name in names:
        known = next((part for prefix, part in PARTS.items() if name.startswith(prefix)), None)
        found.add(known or name.split(".", 1)[0])
    return tuple(sorted(found))


def rank_of(shapes: Shapes) -> int | None:
    """Return the largest rank of the matrices of an adapter; None if it has no such matrix."""
    ranks = [shape[0] for name, shape in shapes.items() if _DOWN.search(name) and len(shape) > 1]
    return max(ranks, default=None)


def text_width_of(shapes: Shapes) -> int | None:
    """Return the width of the text features that an adapter of a UNet was trained with; None if it is unknown."""
    widths = {
        shape[1]
        for name, shape in shapes.items()
        if _CROSS_ATTENTION.search(name) and _DOWN.search(name) and len(shape) > 1
    }
    return widths.pop() if len(widths) == 1 else None
