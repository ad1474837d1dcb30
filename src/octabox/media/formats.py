"""Output file formats: the kinds of media that they support, and their names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from octabox.errors import InvalidParameterError
from octabox.types import Kind, OutputFormat

#: Default quality of lossy formats, in percent.
QUALITY = 90

#: Maximum frame rate, and that of a GIF, which browsers play slower above it.
MAX_FPS, GIF_FPS = 240, 50.0


@dataclass(frozen=True)
class Format:
    """An output format.

    Args:
        kinds: Supported kinds of media; an image format for a video stores its frames as separate files.
        media_type: Its media type, registered with IANA if possible.
        suffix: Suffix of its files.
    """

    kinds: tuple[Kind, ...]
    media_type: str
    suffix: str


#: All formats by name. Errors list them in this order.
FORMATS: dict[str, Format] = {
    "png": Format(("image", "video"), "image/png", ".png"),
    "jpeg": Format(("image", "video"), "image/jpeg", ".jpeg"),
    "webp": Format(("image", "video"), "image/webp", ".webp"),
    "mp4": Format(("video",), "video/mp4", ".mp4"),
    "webm": Format(("video",), "video/webm", ".webm"),
    "gif": Format(("video",), "image/gif", ".gif"),
    "wav": Format(("audio",), "audio/wav", ".wav"),
    "flac": Format(("audio",), "audio/flac", ".flac"),
    "mp3": Format(("audio",), "audio/mpeg", ".mp3"),
    "npz": Format(("array",), "application/x-npz", ".npz"),
    "npy": Format(("array",), "application/x-npy", ".npy"),
    "glb": Format(("mesh",), "model/gltf-binary", ".glb"),
    "ply": Format(("mesh",), "model/ply", ".ply"),
    "obj": Format(("mesh",), "model/obj", ".obj"),
    "txt": Format(("text",), "text/plain", ".txt"),
}

#: Default format of each kind.
DEFAULTS: dict[Kind, str] = {
    "image": "png",
    "video": "mp4",
    "audio": "wav",
    "array": "npz",
    "mesh": "glb",
    "text": "txt",
}

#: Aliases of formats.
ALIASES = {"jpg": "jpeg"}

#: Formats that hold one frame of a video in a file.
STILLS = ("png", "jpeg")

#: Plural of each kind, for messages.
PLURALS: dict[Kind, str] = {
    "image": "Images",
    "video": "Videos",
    "audio": "Audio outputs",
    "array": "Arrays",
    "mesh": "Meshes",
    "text": "Texts",
}


def formats_of(kinds: Iterable[Kind]) -> list[str]:
    """Return the names of the formats that outputs of some kinds may have, in the order of the kinds."""
    return list(dict.fromkeys(name for kind in kinds for name, each in FORMATS.items() if kind in each.kinds))


def select_format(kind: Kind, output: OutputFormat) -> str:
    """Return the name of the format for an artifact of a kind.

    That is the requested format, if it supports the kind, or else the default of the kind: a call may return audio in addition
    to the video that was requested as MP4.
    """
    requested = _requested_format(output)
    return requested if requested in FORMATS and kind in FORMATS[requested].kinds else DEFAULTS[kind]


def check_output_format(output: OutputFormat, kind: Kind, *, one_file: bool = False) -> None:
    """Check that outputs of a kind can be written as requested.

    Args:
        output: The requested format.
        kind: Kind of the outputs.
        one_file: Whether all frames of a video must be in one file.

    Raises:
        InvalidParameterError: The format is unknown or does not support the kind, or the quality or the frame rate is out of
            range.
    """
    requested = _requested_format(output)
    refused = STILLS if one_file and kind == "video" else ()
    choices = tuple(name for name, each in FORMATS.items() if kind in each.kinds and name not in refused)
    if requested is not None and requested not in choices:
        raise InvalidParameterError(
            f"{PLURALS[kind]} cannot be written as '{requested}'.",
            hint=f"Request one of {', '.join(choices)}.",
            parameter="output_format",
            choices=choices,
        )
    if output.quality is not None and not 0 <= output.quality <= 100:  # noqa: PLR2004 (percent)
        raise InvalidParameterError(
            f"The quality must be from 0 to 100, not {output.quality}.", parameter="output_compression"
        )
    limit = GIF_FPS if requested == "gif" else MAX_FPS
    # NaN compares as false and is refused too.
    if output.fps is not None and not 0 < output.fps <= limit:
        of = f" of {requested}" if requested == "gif" else ""
        raise InvalidParameterError(
            f"The frame rate{of} must be above 0 and at most {limit:g}, not {output.fps:g}.", parameter="fps"
        )


def media_type_of(name: str) -> str:
    """Return the media type of a format."""
    return FORMATS[name].media_type


def suffix_of(media_type: str) -> str:
    """Return the file suffix of a media type, such as ``.mp4`` for ``video/mp4``."""
    essence = media_type.partition(";")[0].strip().lower()
    for each in FORMATS.values():
        if each.media_type == essence:
            return each.suffix
    return f".{essence.rpartition('/')[2]}"


def format_of_suffix(suffix: str) -> str | None:
    """Return the format of a file suffix such as ``.jpg``; None if it is not an output format."""
    name = suffix.removeprefix(".").lower()
    name = ALIASES.get(name, name)
    return name if name in FORMATS else None


def _requested_format(output: OutputFormat) -> str | None:
    """Return the name of the requested format, with aliases resolved; None if none is requested."""
    if not output.format:
        return None
    name = output.format.lower()
    return ALIASES.get(name, name)
