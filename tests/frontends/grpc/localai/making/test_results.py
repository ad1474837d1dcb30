"""The one file that LocalAI's core expects of a result."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from fakes import sample_image
from octabox.errors import GenerationError
from octabox.frontends.grpc.localai.making.results import first_of_type, to_image
from octabox.types import Artifact, Generation

LEFT_OUT = ("The response has the first of 2 outputs.",)


def generation(*artifacts: Artifact) -> Generation:
    """Return a result."""
    return Generation("id", "m", "FakePipeline", "text-to-image", artifacts, (), {})


RED, BLUE = (Artifact("image", "image/png", sample_image(name)) for name in ("red", "blue"))
CLIP = Artifact("video", "video/mp4", b"clip")


def test_one_image_is_written() -> None:
    """Others are a warning, and other media types none."""
    assert (RED, ()) == to_image(generation(CLIP, RED), animated=False, fps=1)
    assert (RED, LEFT_OUT) == to_image(generation(RED, BLUE), animated=False, fps=1)


def test_an_animation_has_all_images() -> None:
    """They are its frames."""
    made, warnings = to_image(generation(RED, BLUE), animated=True, fps=4)
    image: Any = Image.open(io.BytesIO(made.content))
    assert (2, 250) == (image.n_frames, image.info["duration"])
    assert () == warnings


def test_one_file_of_a_media_type_is_written() -> None:
    """Others of it are a warning; none is an error that says what there is."""
    assert (CLIP, LEFT_OUT) == first_of_type(generation(RED, CLIP, CLIP), "video")
    with pytest.raises(GenerationError, match="no audio"):
        first_of_type(generation(CLIP), "audio")
    with pytest.raises(GenerationError, match="no image: video/mp4"):
        to_image(generation(CLIP), animated=False, fps=1)
