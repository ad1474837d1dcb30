"""Outputs are encoded in the requested formats."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from calling import call
from makers.samples import sample_audio, sample_image, sample_video
from octabox.engine.worker.outputs.encoding import RawOutput, encode_output
from octabox.engine.worker.outputs.items import Mesh, OutputItem
from octabox.media import audio, video
from octabox.media.limits import MediaLimits
from octabox.media.video import Video
from octabox.types import Artifact, OutputFormat


def encode(item: OutputItem, name: str | None = None) -> list[Artifact]:
    """Return the files of an output."""
    return list(encode_output(item, 7, {"prompt": "a disc"}, OutputFormat(name)))


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
def test_a_video_and_its_audio(name: str | None, media_types: list[str]) -> None:
    """The audio is in the file of the video, or separate if its format has none or if an audio is requested."""
    made = encode(OutputItem("frames", "video", Video(sample_video(32, 32, 2).frames, 8, sample_audio())), name)

    assert media_types == [each.media_type for each in made]
    assert {7} == {each.seed for each in made}


def test_a_video_in_mp4_has_its_audio() -> None:
    """The file has both, and the metadata have the frame rate and the number of frames."""
    (made,) = encode(OutputItem("frames", "video", Video(sample_video(32, 32, 4).frames, 8, sample_audio())))
    again = video.decode(made.content, parameter="clip", limits=MediaLimits())

    assert (4, 8) == (len(again.frames), again.fps)
    assert again.audio is not None
    assert (4, 8) == (made.metadata["num_frames"], made.metadata["fps"])


@pytest.mark.parametrize(("name", "fps", "expected"), [("gif", 60, 50), ("gif", 25, 25), ("webp", 60, 60)])
def test_the_metadata_have_the_frame_rate_that_is_played(name: str, fps: float, expected: float) -> None:
    """That of a GIF is at most 50; a pipeline with a higher one gets a warning."""
    item = OutputItem("frames", "video", Video(sample_video(32, 32, 6).frames, fps))
    generation = RawOutput(call("WanPipeline", {}, output=OutputFormat(name)), ((item, 7, {}),), (), {}).encode()
    (made,) = generation.artifacts

    assert expected == made.metadata["fps"]
    again = video.decode(made.content, parameter="clip", limits=MediaLimits())
    assert expected == pytest.approx(again.fps, rel=0.1)
    assert [fps != expected] == [bool(generation.warnings)]
    assert fps == expected or "The frame rate is 50, the highest of gif, not 60" in generation.warnings[0]


@pytest.mark.parametrize("name", [None, "flac", "mp3"])
def test_an_audio(name: str | None) -> None:
    """The sampling rate is kept, and the length is in the metadata."""
    (made,) = encode(OutputItem("audios", "audio", sample_audio()), name)

    assert sample_audio().rate == audio.decode(made.content, parameter="sound", limits=MediaLimits()).rate
    assert 1.0 == made.metadata["seconds"]


def test_an_image_a_text_and_a_mesh() -> None:
    """A kind that a format does not support is encoded in its default format."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    mesh = Mesh(points, np.array([[0, 1, 2]]), None)
    made = [
        *encode(OutputItem("images", "image", sample_image(32, 24)), "txt"),
        *encode(OutputItem("text", "text", "a disc"), "png"),
        *encode(OutputItem("meshes", "mesh", mesh), "png"),
    ]

    assert ["image/png", "text/plain", "model/gltf-binary"] == [each.media_type for each in made]
    assert (32, 24) == Image.open(io.BytesIO(made[0].content)).size
    assert {"width": 32, "height": 24} == made[0].metadata["size"]
    assert b"a disc" == made[1].content


def test_arrays_one_by_one_or_together() -> None:
    """A file in the format npy has one array, one in npz all of them by name."""
    both = OutputItem("numbers", "array", {"a": np.zeros(3), "b": np.ones((2, 2))})
    apart, (together,) = encode(both, "npy"), encode(both, "npz")

    assert [(3,), (2, 2)] == [np.load(io.BytesIO(each.content)).shape for each in apart]
    assert {"a", "b"} == set(np.load(io.BytesIO(together.content)))
    assert [3] == together.metadata["arrays"]["a"]["shape"]
