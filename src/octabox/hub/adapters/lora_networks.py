"""Tell the kind and the layout of an adapter from the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from octabox.hub.checkpoints.tensors import Shapes

#: A kind by what stands in the names of its tensors; the first that fits holds.
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

#: A layout by what its names look like; the first that fits holds.
LAYOUTS: Mapping[str, re.Pattern[str]] = {
    "kohya": re.compile(r"^(lora|lycoris)_(unet|te\d?|transformer|prior_unet)_"),
    "peft": re.compile(r"\.lora_[AB]\b"),
    "diffusers": re.compile(r"\.lora[._]|_lora\."),
}

#: Beginnings of names, and the component of a pipeline that they are for.
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

#: Tensors that hold no weights of their own.
ALPHA = re.compile(r"\.alpha$")

#: The matrix that leads from the model's width down to the adapter's rank.
_DOWN = re.compile(r"lora_A\b|lora_down\b|lora\.down\b|_lora\.down\b|hada_w1_b$|lokr_w1_b$")

#: Where a UNet looks at the words: the second attention of a block.
_WORDS = re.compile(r"attn2[._](?:processor[._])?to[._][kv]")


def kind_of(names: Iterable[str]) -> str | None:
    """Return the kind of an adapter; None where the names are of no kind that is known."""
    names = list(names)
    return next((kind for kind, pattern in KINDS.items() if any(map(pattern.search, names))), None)


def layout_of(names: Iterable[str]) -> str:
    """Return whose way of naming tensors an adapter follows."""
    names = list(names)
    return next((layout for layout, pattern in LAYOUTS.items() if any(map(pattern.search, names))), "other")


def weights_of(names: Iterable[str]) -> list[str]:
    """Return the names without those that only say how the others are scaled."""
    return [name for name in names if not ALPHA.search(name)]


def parts_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the components that an adapter changes, in the order of their names."""
    found = set()
    for name in names:
        known = next((part for beginning, part in PARTS.items() if name.startswith(beginning)), None)
        found.add(known or name.split(".", 1)[0])
    return tuple(sorted(found))


def rank_of(shapes: Shapes) -> int | None:
    """Return the largest rank of an adapter's matrices; None where it has no such matrix."""
    ranks = [shape[0] for name, shape in shapes.items() if _DOWN.search(name) and len(shape) > 1]
    return max(ranks, default=None)


def words_width_of(shapes: Shapes) -> int | None:
    """Return the width of the text features that an adapter of a UNet was trained with; None where nothing tells."""
    widths = {
        shape[1] for name, shape in shapes.items() if _WORDS.search(name) and _DOWN.search(name) and len(shape) > 1
    }
    return widths.pop() if len(widths) == 1 else None
