"""Read and write moving images of the web: GIF, WebP and APNG, which Pillow knows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageSequence

from octabox.media.formats import QUALITY
from octabox.media.images import build_exif, open_image, to_rgb
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import CHUNK, as_json

#: Frames a second of the fastest GIF that browsers show at its own pace.
GIF_FPS = 50.0

#: Milliseconds that each format counts in.
TICKS = {"gif": 10, "webp": 1}


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> tuple[tuple[Image.Image, ...], float | None]:
    """Return the frames of an animation in RGB, and how many there are a second; None for a still image.

    A frame that is shown for longer than the others is repeated, so that all last as long.

    Raises:
        MediaError: The file is no image, is damaged, or has too many or too large frames.
    """
    frames: list[Image.Image] = []
    lasting: list[float] = []
    with open_image(data, parameter=parameter, limits=limits) as file:
        for index, frame in enumerate(ImageSequence.Iterator(file)):
            limits.check_frames(index + 1, frame.size, parameter)
            # An APNG may begin with an image for programs that know no animations.
            if index or not getattr(file, "default_image", False):
                frames.append(to_rgb(frame))
                lasting.append(float(frame.info.get("duration") or 0))
                limits.check_seconds(sum(lasting) / 1000, parameter)
    shortest = min((each for each in lasting if each), default=0.0)
    if len(frames) == 1 or not shortest:
        return tuple(frames), None
    repeats = [max(1, round(each / shortest)) for each in lasting]
    # Where that would be too many, the pace is lost, not the video.
    if sum(repeats) > limits.max_frames:
        repeats = [1] * len(frames)
    even = tuple(image for image, times in zip(frames, repeats, strict=True) for _ in range(times))
    return even, 1000 * len(even) / sum(lasting)


def encode(
    frames: Sequence[Image.Image], name: str, fps: float, quality: int | None, metadata: Mapping[str, Any]
) -> bytes:
    """Return an animation that repeats for ever.

    Args:
        frames: In RGB and all of one size.
        name: ``gif`` or ``webp``.
        fps: Frames a second; a GIF has 50 at most.
        quality: 0 to 100, for WebP; None is the usual one.
        metadata: What it was made from.
    """
    file = io.BytesIO()
    tick, pace = TICKS[name], min(fps, GIF_FPS) if name == "gif" else fps
    # Rounded so that no error adds up.
    ends = [tick * round(1000 / tick * (index + 1) / pace) for index in range(len(frames))]
    durations = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    if name == "gif":
        # Pillow's own choice of 256 colours takes a hundred times as long, for little.
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
