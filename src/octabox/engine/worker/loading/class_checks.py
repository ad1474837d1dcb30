"""Refuse components that steer a model of another family, as far as their configurations tell, before a call comes upon it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.model import ModelConfig
from octabox.engine.worker.component_types import unpack_components
from octabox.errors import IncompatibleWeightsError

#: Components that make the steps.
DENOISERS = ("unet", "transformer")

#: Settings that tell how wide the words are that a component is given.
WORDS = ("cross_attention_dim", "joint_attention_dim")

#: Set where a component brings words of another width into its own first.
PROJECTS = "encoder_hid_dim"


def check_control_inputs(config: ModelConfig, own: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
    """Make sure that what steers a model is given words, or gives features, of the width that the model has.

    Args:
        config: The model's configuration.
        own: Components of the model's own pipeline.
        beside: Those that its configuration brings for siblings.

    Raises:
        IncompatibleWeightsError: Something was made for another family.
    """
    denoiser = next((own[name] for name in DENOISERS if own.get(name) is not None), None)
    settings = getattr(denoiser, "config", None)
    if settings is None:
        return
    steering = {name: part for name, part in {**own, **beside}.items() if CONTROL_COMPONENTS.search(name)}
    for name, part in steering.items():
        members = unpack_components(part)
        for place, member in enumerate(members):
            for what, theirs, ours in _differing(getattr(member, "config", {}), settings):
                which = f"{name} {place + 1} of {len(members)}" if len(members) > 1 else name
                raise IncompatibleWeightsError(
                    f"Model '{config.name}': its {which} was made for another family of models: "
                    f"its {what} is {theirs}, and the model's is {ours}.",
                    hint="Choose one that was trained for this family.",
                    model=config.name,
                )


def _differing(part: Mapping[str, Any], denoiser: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield settings that must be the same in both and are not: the name, the component's, and the denoiser's."""
    for name in WORDS:
        theirs, ours = part.get(name), denoiser.get(name)
        comparable = isinstance(theirs, int) and isinstance(ours, int)
        if comparable and theirs != ours and part.get(PROJECTS) is None and denoiser.get(PROJECTS) is None:
            yield name, theirs, ours
    channels, blocks = part.get("channels"), denoiser.get("block_out_channels")
    if channels and blocks and list(channels[: len(blocks)]) != list(blocks):
        yield "channels", list(channels), list(blocks)
