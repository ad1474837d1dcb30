"""The media of a request, fetched and decoded."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from in_process_decoder import InProcessDecoder
from makers import samples
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError, InvalidRequestError, MediaError, RequestError
from octabox.media.audio import Audio
from octabox.media.decoding.decoders import DECODERS
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.media.video import Video
from octabox.service.inputs import decode_inputs, input_warnings
from octabox.types import Source

LIMITS = MediaLimits(max_frames=12, max_seconds=2.0)

#: A call that takes a file of each kind.
ENTRY = PipelineEntry(
    "Everything",
    "made.up",
    "made",
    parameters=(
        Parameter("control_image", "", "image"),
        Parameter("image", "", "image", many=True),
        Parameter("mask_image", "", "mask"),
        Parameter("video", "", "video"),
        Parameter("audio", "", "audio"),
        Parameter("mask_video", "", "video"),
        Parameter("latents", "torch.Tensor", "array", many=True),
    ),
)


def npy(array: np.ndarray, **options: Any) -> bytes:
    """Return an array as an .npy file."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


async def read(**media: Source | list[Any] | tuple[Source | list[Any], ...]) -> dict[str, tuple[Any, ...]]:
    """Return decoded media; what stands alone is one file."""
    given = {name: each if isinstance(each, tuple) else (each,) for name, each in media.items()}
    return await decode_inputs(given, ENTRY, Fetcher(LIMITS), InProcessDecoder(LIMITS))


async def refused(**media: Source | list[Any] | tuple[Source | list[Any], ...]) -> RequestError:
    """Return the error for media."""
    with pytest.raises(RequestError) as caught:
        await read(**media)
    return caught.value


async def test_every_kind_is_decoded() -> None:
    """An image in RGB, a mask in L, a video, an audio and an array, each under its parameter."""
    content = samples.content
    found = await read(
        image=content("image"),
        mask_image=content("mask"),
        video=content("video"),
        audio=content("audio"),
        latents=npy(np.ones((1, 2), np.float32)),
    )

    assert ("RGB", "L") == (found["image"][0].mode, found["mask_image"][0].mode)
    assert isinstance(found["video"][0], Video)
    assert samples.FRAMES == len(found["video"][0].frames)
    assert isinstance(found["audio"][0], Audio)
    assert (1, 2) == found["latents"][0].shape


@pytest.mark.parametrize(
    ("audio", "warns"),
    [
        (Audio(np.full((2, 8), 0.5, np.float32), 8), True),
        (Audio(np.zeros((2, 8), np.float32), 8), False),
        (None, False),
    ],
)
def test_the_audio_of_a_video_is_not_dropped_in_silence(audio: Audio | None, *, warns: bool) -> None:
    """Pipelines take the frames alone; a silent track is not missed."""
    media = (Image.new("RGB", (8, 8)), Video((Image.new("RGB", (8, 8)),), audio=audio))

    warnings = input_warnings({"image": media[:1], "video": media})

    assert ["The audio of the video 'video' has no effect: pipelines take its frames alone."] * warns == warnings


async def test_media_come_as_text_too() -> None:
    """Base64 and data URIs give what the bytes give."""
    text = base64.b64encode(samples.content("image")).decode()
    found = await read(image=(samples.content("image"), text, f"data:image/png;base64,{text}"))

    assert 1 == len({picture.tobytes() for picture in found["image"]})
    assert 3 == len(found["image"])


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        ([[1.5, 2], [3, 4]], "float32", (2, 2)),
        ([1, 2, 3], "int64", (3,)),
        ([[True, False]], "bool", (1, 2)),
    ],
)
async def test_nested_lists_are_arrays(value: list[Any], dtype: str, shape: tuple[int, ...]) -> None:
    """Fractions become float32, whole numbers int64."""
    (found,) = (await read(latents=value))["latents"]

    assert (dtype, shape) == (str(found.dtype), found.shape)


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        ("image", b"text", MediaError, "is not an image"),
        ("image", samples.content("image")[:60], MediaError, "is damaged"),
        ("image", samples.content("audio"), MediaError, "is not an image"),
        ("image", "no base64!", MediaError, "is neither valid base64"),
        ("mask_image", samples.content("video"), MediaError, "is not an image"),
        ("video", b"text", MediaError, "is damaged, or of an unsupported format"),
        ("video", samples.content("audio"), MediaError, "has no video"),
        ("audio", samples.content("image"), MediaError, "is damaged, or of an unsupported format"),
        ("audio", samples.content("video"), MediaError, "has no audio"),
        ("latents", samples.content("image"), MediaError, "or not an .npy file"),
        ("latents", npy(np.array([{}], object), allow_pickle=True), MediaError, "not a real number type"),
        ("latents", npy(np.zeros(64))[:-1], MediaError, "declares 64 values"),
        ("latents", [[1, 2], [3]], InvalidParameterError, "different lengths"),
        ("latents", [["a", "b"]], InvalidParameterError, "only numbers"),
        ("latents", [None], InvalidParameterError, "only numbers"),
        ("latents", [{"a": 1}], InvalidParameterError, "only numbers"),
        ("latents", [10**30], InvalidParameterError, "only numbers"),
    ],
)
async def test_what_cannot_be_read_is_refused(name: str, value: Any, kind: type[RequestError], words: str) -> None:
    """The error names the parameter and says what is wrong with its file."""
    error = await refused(**{name: value})

    assert kind is type(error)
    assert name == error.parameter
    assert words in error.message


async def test_limits_hold_for_videos_and_audios() -> None:
    """A video of too many frames and an audio that is too long are refused, each with its parameter."""
    long = MediaLimits(max_frames=samples.FRAMES - 1, max_seconds=samples.SECONDS / 2)
    files: dict[str, tuple[Source | list[Any], ...]] = {name: (samples.content(name),) for name in ("video", "audio")}
    with pytest.raises(InvalidRequestError) as caught:
        await decode_inputs(files, ENTRY, Fetcher(long), InProcessDecoder(long))

    assert ["video", "audio"] == [problem.parameter for problem in caught.value.problems]
    assert "8 frames" in caught.value.message or "0.5 seconds" in caught.value.message


async def test_an_image_is_a_video_of_one_frame() -> None:
    """Where a video is taken, a still image will do."""
    (found,) = (await read(video=samples.content("image")))["video"]

    assert 1 == len(found.frames)


async def test_images_are_the_frames_of_a_video() -> None:
    """As many as are sent, in their order."""
    frames = samples.sample_video().frames
    (found,) = (await read(video=tuple(map(samples.png, frames))))["video"]

    assert [frame.tobytes() for frame in frames] == [frame.tobytes() for frame in found.frames]


async def test_an_array_is_a_video() -> None:
    """Bytes and floats give the same frames."""
    frames = np.stack([np.asarray(frame) for frame in samples.sample_video().frames])
    (found,) = (await read(video=npy(frames)))["video"]
    (same,) = (await read(video=npy(frames.astype(np.float32) / 255)))["video"]

    assert np.array_equal(frames, np.stack([np.asarray(frame) for frame in found.frames]))
    assert [frame.tobytes() for frame in found.frames] == [frame.tobytes() for frame in same.frames]


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ((samples.content("video"),) * 2, InvalidParameterError, "takes one video, not 2"),
        ((samples.content("image"), samples.content("video")), InvalidParameterError, "takes one video, not 2"),
        ((samples.content("image"),) * 13, MediaError, "more than the limit of 12 frames"),
        ((samples.content("image"), samples.content("image", 32, 32)), MediaError, "are 64x64 and 32x32"),
        (npy(np.zeros((13, 4, 4, 3), np.uint8)), MediaError, "more than the limit of 12 frames"),
        (npy(np.zeros((4, 4, 3), np.uint8)), MediaError, "is an array of shape [4, 4, 3]"),
        (npy(np.full((2, 4, 4, 3), 2.0)), MediaError, "with values from 2 to 2"),
        (npy(np.full((2, 4, 4, 3), -1)), MediaError, "with values from -1 to -1"),
    ],
)
async def test_frames_that_make_no_video_are_refused(files: Any, kind: type[RequestError], words: str) -> None:
    """The limits of a video hold for its frames too, in whatever form they come."""
    error = await refused(video=files)

    assert kind is type(error)
    assert words in error.message


async def test_sixteen_bits_are_eight() -> None:
    """An image of 16 bits a channel is the same as one of 8."""
    grey = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    files = []
    for picture in (Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)):
        file = io.BytesIO()
        picture.save(file, "PNG")
        files.append(file.getvalue())
    small, large = (await read(image=tuple(files)))["image"]

    assert small.tobytes() == large.tobytes()


async def test_a_mask_has_the_size_of_its_image() -> None:
    """The error tells both sizes; an image that only steers is not the mask's."""
    error = await refused(image=samples.content("image", 64, 64), mask_image=samples.content("mask", 32, 64))
    with_control = await read(
        control_image=samples.content("image", 64, 64), mask_image=samples.content("mask", 32, 64)
    )

    assert ("mask_image", "The mask 'mask_image' is 32x64, and its image 64x64.") == (error.parameter, error.message)
    assert {"control_image", "mask_image"} == with_control.keys()


async def test_all_that_is_wrong_is_named_at_once() -> None:
    """Each file that cannot be read is an error of its own."""
    error = await refused(image=b"text", audio=b"text", latents=[[1], [1, 2]])

    assert isinstance(error, InvalidRequestError)
    assert ["image", "audio", "latents"] == [problem.parameter for problem in error.problems]


@pytest.mark.parametrize(
    ("name", "medium"),
    [("image", "image"), ("mask_image", "image"), ("video", "video"), ("audio", "audio"), ("latents", "array")],
)
async def test_an_error_tells_what_was_to_be_read(name: str, medium: str) -> None:
    """A mask is an image; every other kind of file goes by its own name."""
    error = await refused(**{name: b"text"})

    assert isinstance(error, MediaError)
    assert medium == error.media_kind


def test_every_file_of_every_pipeline_has_a_decoder() -> None:
    """Over the whole catalog, no parameter takes files of a kind that is not read; the other decoders are those of routes."""
    kinds = {each.kind for entry in load_catalog().pipelines.values() for each in entry.parameters if each.is_file}

    assert kinds == set(DECODERS) - {"transparency", "texts", "metadata"}


async def test_masks_of_a_video() -> None:
    """They have the size of its frames, and there is one, or one for each frame."""
    content = samples.content
    clip, mask = content("video", 32, 32, 4), content("mask", 32, 32)
    other_size = await refused(video=clip, mask_video=content("video", 64, 32, 4))
    single = await refused(video=clip, mask_image=content("mask", 64, 32))
    other_length = await refused(video=clip, mask_video=(mask, mask))

    assert "The mask 'mask_video' is 64x32, and its video 32x32." == other_size.message
    assert "The mask 'mask_image' is 64x32, and its video 32x32." == single.message
    assert "The mask 'mask_video' has 2 frames, and its video 4." == other_length.message
    for masks in ((mask,), (mask,) * 4, content("video", 32, 32, 4)):
        assert {"video", "mask_video"} == set(await read(video=clip, mask_video=masks))


async def test_only_a_file_has_a_frame_rate() -> None:
    """Images and arrays are played at a default rate, which is not theirs."""
    content = samples.content

    assert (await read(video=content("video")))["video"][0].is_timed
    assert not (await read(video=(content("image"),) * 2))["video"][0].is_timed
    assert not (await read(video=npy(np.zeros((2, 8, 8, 3), np.uint8))))["video"][0].is_timed
