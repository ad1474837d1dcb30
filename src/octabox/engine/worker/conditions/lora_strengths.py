"""The weight of a LoRA for each component that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from octabox.errors import InvalidParameterError
from octabox.types import AdapterChoice

#: Keys of weights, in addition to the names of the components.
TEXT, DENOISERS = "text_encoder", ("unet", "transformer")


def component_weights(choice: AdapterChoice, changed: Iterable[str], components: Iterable[str]) -> dict[str, float]:
    """Return the weight of a LoRA for each component that it changes.

    A weight for ``text_encoder`` is the default for the other text encoders, and one for ``unet`` or ``transformer`` holds
    for either denoiser.

    Args:
        choice: The LoRA, with its weights.
        changed: Components that it changes.
        components: All components of the model that support LoRAs.

    Raises:
        InvalidParameterError: The model has no component that a weight is set for.
    """
    unknown = sorted(set(choice.weights) - {*components, *DENOISERS, TEXT})
    if unknown:
        choices = sorted(components)
        raise InvalidParameterError(
            f"LoRA '{choice.display_name}' has a weight for '{unknown[0]}', which does not support LoRAs in this model.",
            hint=f"Components that do: {', '.join(choices)}.",
            parameter="adapters",
            choices=choices,
        )
    return {component: _weight(choice, component) for component in changed}


def _weight(choice: AdapterChoice, component: str) -> float:
    """Return the weight for a component."""
    names = [name for name in _keys(component) if name in choice.weights]
    return float(choice.weights[names[0]] if names else choice.weight)


def _keys(component: str) -> tuple[str, ...]:
    """Return the keys of weights that hold for a component, the closest first."""
    return (component, *((TEXT,) if component.startswith(TEXT) else DENOISERS))


def unused_weights(choice: AdapterChoice, applied: Mapping[str, float]) -> list[str]:
    """Return a warning about weights for components that a LoRA does not change, unless it has the same ones elsewhere.

    Args:
        choice: The LoRA, with its weights.
        applied: The weight for each component that it changes.
    """
    held = {key for component in applied for key in _keys(component)}
    unused = [
        name
        for name, weight in choice.weights.items()
        if weight and name not in held and weight not in applied.values()
    ]
    if not unused:
        return []
    effect = "no effect" if any(applied.values()) else "no effect, and it changes nothing with the weight 0 there"
    what = f"LoRA '{choice.display_name}' changes {', '.join(applied)}, but not {', '.join(unused)}"
    return [f"{what}: the weight for that has {effect}."]
