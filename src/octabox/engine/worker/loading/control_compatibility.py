"""Refuse ControlNets and adapters whose configurations show that they belong to another model family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.model import ModelConfig
from octabox.engine.worker.component_types import unpack_components
from octabox.errors import IncompatibleWeightsError
from octabox.hub.adapters.controls import DENOISERS, find_mismatches


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
            for key, value, expected in find_mismatches(getattr(member, "config", {}), denoiser_config):
                label = f"{name} {index + 1} of {len(members)}" if len(members) > 1 else name
                raise IncompatibleWeightsError(
                    f"Model '{config.name}': its {label} was made for another model family: "
                    f"its {key} is {value}, and the model's is {expected}.",
                    hint="Choose one that was trained for this family.",
                    model=config.name,
                )
