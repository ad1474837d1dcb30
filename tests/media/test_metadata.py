"""What a picture was made from, inside the picture."""

from typing import Any

import pytest
from PIL import Image

from fakes import picture
from octabox.media.images import encode
from octabox.media.metadata import parameters_text, read
from octabox.types import OutputFormat

FACTS: dict[str, Any] = {
    "model": "org/painter",
    "seed": 0,
    "params": {"prompt": "a Katze 猫 \U0001f408\nin the sun", "negative_prompt": "b", "num_inference_steps": 20},
    "scheduler": {"name": "EulerDiscreteScheduler"},
    "size": {"width": 16, "height": 8},
    "version": "1.0",
}


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_round_trip(name: str) -> None:
    """What was written is read again, in every format and any script."""
    data, _ = encode(Image.new("RGB", (16, 8)), OutputFormat(name), FACTS)

    assert FACTS == read(data)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_none(name: str) -> None:
    """A picture without metadata has none."""
    data, _ = encode(Image.new("RGB", (16, 8)), OutputFormat(name), {})

    assert {} == read(data)


def test_of_others() -> None:
    """A picture of another program has none of ours."""
    assert {} == read(picture(form="GIF"))


def test_text_of_png() -> None:
    """A PNG has the text that other programs read."""
    data, _ = encode(Image.new("RGB", (16, 8)), OutputFormat("png"), FACTS)

    assert f"parameters{chr(0)}".encode() in data


def test_parameters_text() -> None:
    """The text has the form of the AUTOMATIC1111 web UI."""
    text = parameters_text({**FACTS, "params": {"prompt": "a", "negative_prompt": "b", "guidance_scale": 2.0}})

    assert text == (
        "a\nNegative prompt: b\n"
        "CFG scale: 2.0, Sampler: EulerDiscreteScheduler, Seed: 0, Size: 16x8, Model: org/painter, Version: octabox 1.0"
    )


def test_values_that_need_quotes() -> None:
    """A value with a comma or a colon stands in quotes."""
    assert '\nModel: "a, b: c"' == parameters_text({"model": "a, b: c"})
