"""The weights of a LoRA by component."""

from __future__ import annotations

import pytest

from octabox.engine.worker.conditions.lora_strengths import component_weights, unused_weights
from octabox.errors import InvalidParameterError
from octabox.types import AdapterChoice


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, (0.8, 0.8)),
        ({"text_encoder": 0.5}, (0.8, 0.5)),
        ({"unet": 0.0}, (0.0, 0.8)),
        ({"transformer": 0.3, "text_encoder": 0.5, "text_encoder_2": 0.1}, (0.3, 0.1)),
    ],
)
def test_the_closest_weight_holds(weights: dict[str, float], expected: tuple[float, float]) -> None:
    """That of the component, else that of its kind, else that of the LoRA."""
    changed = ("transformer", "text_encoder_2")
    found = component_weights(AdapterChoice("x", 0.8, weights), changed, {*changed, "text_encoder"})

    assert expected == (found["transformer"], found["text_encoder_2"])


def test_a_weight_for_what_the_model_lacks_is_refused() -> None:
    """The error has the components that there are."""
    with pytest.raises(InvalidParameterError, match="'decoder'") as caught:
        component_weights(AdapterChoice("x", 1.0, {"decoder": 1.0}), ("unet",), ("unet",))

    assert ("unet",) == tuple(caught.value.choices)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"transformer_2": 0.5}, "but not transformer_2: the weight for that has no effect."),
        ({"text_encoder": 0.5, "text_encoder_2": 0.6}, "but not text_encoder, text_encoder_2: the weight"),
        ({"text_encoder": 1.0, "unet": 0.0}, "has no effect, and it changes nothing with the weight 0 there."),
        ({"text_encoder": 1.0}, ""),
        ({"text_encoder": 1.0, "unet": 1.0}, ""),
        ({"text_encoder": 0.0, "unet": 0.5}, ""),
    ],
)
def test_a_weight_for_what_the_lora_does_not_change(weights: dict[str, float], told: str) -> None:
    """It is told, unless it is also that of what is changed: tags have a weight for both parts by habit."""
    choice = AdapterChoice("x", 1.0, weights)
    found = unused_weights(choice, component_weights(choice, ("transformer",), ("transformer", *weights)))

    assert bool(told) == bool(found)
    assert told in "".join(found)
