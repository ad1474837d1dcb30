"""What a call made becomes files of the form that was asked for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from makers.samples import clip, picture, sound
from octabox.engine.worker.outputs.products import Mesh, Product
from octabox.engine.worker.outputs.writing import artifacts
from octabox.media import audio, video
from octabox.media.limits import MediaLimits
from octabox.media.video import Clip
from octabox.types import Artifact, OutputFormat


def written(product: Product, name: str | None = None) -> list[Artifact]:
    """Return the files of a product."""
    return list(artifacts(product, 7, {"prompt": "a disc"}, OutputFormat(name)))


@pytest.mark.parametrize(
    ("name", "media_types"),
    [
        (None, ["video/mp4"]),
        ("mp4", ["video/mp4"]),
        ("webm", ["video/webm"]),
        ("gif", ["image/gif", "audio/wav"]),
        ("webp", ["image/webp", "audio/wav"]),
        ("png", ["image/png", "image/png", "audio/wav"]),
        ("wav", ["video/mp4", "audio/wav"]),
        ("flac", ["video/mp4", "audio/flac"]),
    ],
)
def test_a_clip_and_its_sound(name: str | None, media_types: list[str]) -> None:
    """The sound is in the clip's file, or in one of its own where that has no room for it or a sound was asked for."""
    made = written(Product("frames", "video", Clip(clip(32, 32, 2).frames, 8, sound())), name)

    assert media_types == [each.media_type for each in made]
    assert {7} == {each.seed for each in made}


def test_a_clip_in_mp4_has_its_sound() -> None:
    """The file plays both, and says how fast and how long the clip is."""
    (made,) = written(Product("frames", "video", Clip(clip(32, 32, 4).frames, 8, sound())))
    again = video.decode(made.content, parameter="clip", limits=MediaLimits())

    assert (4, 8) == (len(again.frames), again.fps)
    assert again.sound is not None
    assert (4, 8) == (made.metadata["num_frames"], made.metadata["fps"])


@pytest.mark.parametrize("name", [None, "flac", "mp3"])
def test_a_sound(name: str | None) -> None:
    """A sound keeps its rate, and its length is told."""
    (made,) = written(Product("audios", "audio", sound()), name)

    assert sound().rate == audio.decode(made.content, parameter="sound", limits=MediaLimits()).rate
    assert 1.0 == made.metadata["seconds"]


def test_a_picture_words_and_a_solid() -> None:
    """Each is written in its own kind's usual form, whatever was asked of the others."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    solid = Mesh(points, np.array([[0, 1, 2]]), None)
    made = [
        *written(Product("images", "image", picture(32, 24)), "txt"),
        *written(Product("text", "text", "a disc"), "png"),
        *written(Product("meshes", "mesh", solid), "png"),
    ]

    assert ["image/png", "text/plain", "model/gltf-binary"] == [each.media_type for each in made]
    assert (32, 24) == Image.open(io.BytesIO(made[0].content)).size
    assert {"width": 32, "height": 24} == made[0].metadata["size"]
    assert b"a disc" == made[1].content


def test_arrays_one_by_one_or_together() -> None:
    """A file of NumPy's simple format holds one array, an archive all of them under their names."""
    both = Product("numbers", "array", {"a": np.zeros(3), "b": np.ones((2, 2))})
    apart, (together,) = written(both, "npy"), written(both, "npz")

    assert [(3,), (2, 2)] == [np.load(io.BytesIO(each.content)).shape for each in apart]
    assert {"a", "b"} == set(np.load(io.BytesIO(together.content)))
    assert [3] == together.metadata["arrays"]["a"]["shape"]
