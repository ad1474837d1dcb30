"""The devices of a model that is split over several: the error where there are fewer."""

from __future__ import annotations

from collections.abc import Sequence

from octabox.config.model import ModelConfig
from octabox.errors import LoadError


def too_few_devices(model: ModelConfig, found: Sequence[str]) -> LoadError:
    """Return the error of a model that is split over more devices than there are.

    Args:
        model: Its configuration.
        found: Those that it may be on.
    """
    names = f": {', '.join(found)}" if found else ""
    return LoadError(
        f"Model '{model.name}' is split over {model.device_count} devices by `parallel`, and {len(found)} can be used "
        f"here{names}.",
        hint="Set `parallel` to as many as there are, or remove it; `device: cpu` splits the model over processes of the CPU.",
        model=model.name,
        parameter="parallel",
    )
