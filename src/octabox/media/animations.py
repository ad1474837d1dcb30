"""Decode and encode animated images with Pillow: GIF, WebP and APNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageSequence

from octabox.media.formats import QUALITY
from octabox.media.images import build_exif, open_image, to_rgb
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import CHUNK, as_json

#: Time unit of each format in milliseconds.
TICKS = {"gif": 10, "webp": 1}


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> tuple[tuple[Image.Image, ...], float | None]:
    """Decode an animation to RGB frames and a frame rate, which is None for a still image.

    Frames with a longer duration are repeated, so that all frames have the same duration.

    Raises:
        MediaError: The file is not an image, is damaged, or exceeds a limit.
    """
    frames: list[Image.Image] = []
    durations: list[float] = []
    with open_image(data, parameter=parameter, limits=limits) as file:
        for index, frame in enumerate(ImageSequence.Iterator(file)):
            limits.check_frames(index + 1, frame.size, parameter)
            # An APNG may begin with an image for programs without animation support.
            if index or not getattr(file, "default_image", False):
                frames.append(to_rgb(frame))
                durations.append(float(frame.info.get("duration") or 0))
                limits.check_seconds(sum(durations) / 1000, parameter)
    shortest = min((each for each in durations if each), default=0.0)
    if len(frames) == 1 or not shortest:
        return tuple(frames), None
    repeats = [max(1, round(each / shortest)) for each in durations]
    # If there would be too many frames, the durations are dropped.
    if sum(repeats) > limits.max_frames:
        repeats = [1] * len(frames)
    even = tuple(image for image, times in zip(frames, repeats, strict=True) for _ in range(times))
    return even, 1000 * len(even) / sum(durations)


def encode(
    frames: Sequence[Image.Image], name: str, fps: float, quality: int | None, metadata: Mapping[str, Any]
) -> bytes:
    """Encode an animation that loops forever.

    Args:
        frames: RGB frames of the same size.
        name: ``gif`` or ``webp``.
        fps: Frames per second; for GIF at most `GIF_FPS`.
        quality: 0 to 100, for WebP; None for the default.
        metadata: Generation metadata.
    """
    file = io.BytesIO()
    tick = TICKS[name]
    # Rounded so that errors do not accumulate.
    ends = [tick * round(1000 / tick * (index + 1) / fps) for index in range(len(frames))]
    durations = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    if name == "gif":
        # The default quantization of Pillow takes a hundred times as long for little gain.
        frames = [image.quantize(256, method=Image.Quantize.FASTOCTREE) for image in frames]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": durations, "loop": 0}
    if name == "webp":
        options["quality"] = QUALITY if quality is None else quality
        if (exif := build_exif(metadata)) is not None:
            options["exif"] = exif.tobytes()
    elif metadata:
        options["comment"] = f"{CHUNK}: {as_json(metadata)}".encode()
    frames[0].save(file, name.upper(), **options)
    return file.getvalue()
