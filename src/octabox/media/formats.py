"""The formats that artifacts are written in: what each can hold, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.errors import InvalidParameterError
from octabox.types import Kind, OutputFormat

#: Quality of lossy formats where the request gives none, in per cent.
QUALITY = 90

#: Frames a second that may be asked for.
MAX_FPS = 240


@dataclass(frozen=True)
class Format:
    """A format that is written.

    Args:
        kinds: What it can hold; of a video, a format of single images holds the frames one by one.
        media_type: Its media type, registered (IANA) where there is one.
        suffix: How its files' names end.
    """

    kinds: tuple[Kind, ...]
    media_type: str
    suffix: str


#: All formats by name. Those of a kind stand in the order in which an error names them.
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

#: What a kind is written in where nothing else was asked for.
DEFAULTS: dict[Kind, str] = {
    "image": "png",
    "video": "mp4",
    "audio": "wav",
    "array": "npz",
    "mesh": "glb",
    "text": "txt",
}

#: Other names of formats.
ALIASES = {"jpg": "jpeg"}

#: What many of a kind are called in a sentence.
PLURALS: dict[Kind, str] = {
    "image": "Pictures",
    "video": "Videos",
    "audio": "Sounds",
    "array": "Arrays",
    "mesh": "Meshes",
    "text": "Texts",
}


def select_format(kind: Kind, output: OutputFormat) -> str:
    """Return the name of the format to write an artifact of this kind in.

    That is the one that was asked for if it can hold the kind. Else it is the kind's usual one: a call may make a
    audio beside the video that it was asked for as MP4.
    """
    wished = _wished(output)
    return wished if wished in FORMATS and kind in FORMATS[wished].kinds else DEFAULTS[kind]


def check_output_format(output: OutputFormat, kind: Kind) -> None:
    """Make sure that outputs of this kind can be written as a client wants them.

    Raises:
        InvalidParameterError: The format is unknown or cannot hold the kind, or the quality or the frame rate is out of
            range.
    """
    wished = _wished(output)
    choices = tuple(name for name, each in FORMATS.items() if kind in each.kinds)
    if wished is not None and wished not in choices:
        raise InvalidParameterError(
            f"{PLURALS[kind]} are not written as '{wished}'.",
            hint=f"Ask for one of {', '.join(choices)}.",
            parameter="output_format",
            choices=choices,
        )
    if output.quality is not None and not 0 <= output.quality <= 100:  # noqa: PLR2004 (per cent)
        raise InvalidParameterError(
            f"The quality must be from 0 to 100, not {output.quality}.", parameter="output_compression"
        )
    # What is not a number at all compares as false, and is caught too.
    if output.fps is not None and not 0 < output.fps <= MAX_FPS:
        raise InvalidParameterError(
            f"The frame rate must be above 0 and at most {MAX_FPS}, not {output.fps:g}.", parameter="fps"
        )


def media_type_of(name: str) -> str:
    """Return the media type of a format of the table."""
    return FORMATS[name].media_type


def suffix_of(media_type: str) -> str:
    """Return how names of files of this media type end, such as ``.mp4`` for ``video/mp4``."""
    essence = media_type.partition(";")[0].strip().lower()
    for each in FORMATS.values():
        if each.media_type == essence:
            return each.suffix
    return f".{essence.rpartition('/')[2]}"


def format_of_suffix(suffix: str) -> str | None:
    """Return the format that a path's suffix such as ``.jpg`` stands for; None where it is none that is written."""
    name = suffix.removeprefix(".").lower()
    name = ALIASES.get(name, name)
    return name if name in FORMATS else None


def _wished(output: OutputFormat) -> str | None:
    """Return the name of the format that was asked for, in our spelling."""
    if not output.format:
        return None
    name = output.format.lower()
    return ALIASES.get(name, name)
