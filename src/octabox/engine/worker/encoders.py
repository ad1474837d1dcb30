"""Let diffusers leave layers of a text encoder out (``clip_skip``) with newer releases of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from diffusers import DiffusionPipeline

#: The call parameter, and where diffusers looks for an encoder's last layer then.
CLIP_SKIP, INNER = "clip_skip", "text_model"


@contextmanager
def layers_in_reach(pipe: DiffusionPipeline, params: Mapping[str, Any]) -> Iterator[None]:
    """Show encoders' layers, while a call leaves some out, where diffusers looks for them: one level further in.

    Until transformers 5 a CLIP text encoder was a shell around the model proper; now it is that model. Only a call may see it
    so: those who load LoRAs and single files tell the one from the other by it.
    """
    parts = pipe.components.values() if params.get(CLIP_SKIP) is not None else ()
    kinds: set[Any] = {
        type(part)
        for part in parts
        if type(part).__module__.startswith("transformers.")
        and hasattr(part, "final_layer_norm")
        and not hasattr(part, INNER)
    }
    for kind in kinds:
        setattr(kind, INNER, property(_itself))
    try:
        yield
    finally:
        for kind in kinds:
            delattr(kind, INNER)


def _itself(encoder: object) -> object:
    return encoder
