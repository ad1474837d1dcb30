"""Refuse ControlNets and adapters whose configurations show that they belong to another model family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.model import ModelConfig
from octabox.engine.worker.component_types import unpack_components
from octabox.errors import IncompatibleWeightsError

#: Names of the denoiser component.
DENOISERS = ("unet", "transformer")

#: Configuration keys of the width of the text embeddings that a component takes.
EMBEDDING_WIDTHS = ("cross_attention_dim", "joint_attention_dim")

#: Configuration key that is set if a component projects text embeddings of another width.
PROJECTION = "encoder_hid_dim"


def check_control_components(
    config: ModelConfig, components: Mapping[str, Any], extra_components: Mapping[str, Any]
) -> None:
    """Check that ControlNets and adapters have the same embedding width and channels as the denoiser.

    Args:
        config: The model's configuration.
        components: Components of the model's pipeline.
        extra_components: Components that the configuration adds for sibling pipelines.

    Raises:
        IncompatibleWeightsError: A component was trained for another model family.
    """
    denoiser = next((components[name] for name in DENOISERS if components.get(name) is not None), None)
    denoiser_config = getattr(denoiser, "config", None)
    if denoiser_config is None:
        return
    for name, component in {**components, **extra_components}.items():
        if not CONTROL_COMPONENTS.search(name):
            continue
        members = unpack_components(component)
        for index, member in enumerate(members):
            for key, value, expected in _mismatches(getattr(member, "config", {}), denoiser_config):
                label = f"{name} {index + 1} of {len(members)}" if len(members) > 1 else name
                raise IncompatibleWeightsError(
                    f"Model '{config.name}': its {label} was made for another model family: "
                    f"its {key} is {value}, and the model's is {expected}.",
                    hint="Choose one that was trained for this family.",
                    model=config.name,
                )


def _mismatches(component: Mapping[str, Any], denoiser: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that must be equal in both configurations and differ: key, component's and denoiser's value."""
    for name in EMBEDDING_WIDTHS:
        value, expected = component.get(name), denoiser.get(name)
        comparable = isinstance(value, int) and isinstance(expected, int)
        projects = component.get(PROJECTION) is not None or denoiser.get(PROJECTION) is not None
        if comparable and value != expected and not projects:
            yield name, value, expected
    channels, blocks = component.get("channels"), denoiser.get("block_out_channels")
    if channels and blocks and list(channels[: len(blocks)]) != list(blocks):
        yield "channels", list(channels), list(blocks)
