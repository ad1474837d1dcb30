"""What a file was made from, inside it: as text that other programs read, and as JSON that Octabox can run again."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

from octabox.errors import MediaError
from octabox.media.containers import opened
from octabox.media.limits import MediaLimits

#: Name of the text chunk that the AUTOMATIC1111 web UI writes, and many programs read.
TEXT_CHUNK = "parameters"

#: Name of the chunk that holds our JSON.
CHUNK = "octabox"

#: EXIF tag that holds a comment, and the directory it stands in (EXIF 2.32, 4.6.5).
USER_COMMENT, EXIF_DIRECTORY = 0x9286, 0x8769

#: How an EXIF comment says that it is UTF-16.
UNICODE = b"UNICODE\0"

#: A pair of that text's last line; a line with fewer than so many of them belongs to the prompt.
PAIR, FEWEST_PAIRS = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'), 3

#: How that text begins its negative prompt.
NEGATIVE = "Negative prompt:"


def as_json(metadata: Mapping[str, Any]) -> str:
    """Return metadata as one line of JSON, in ASCII."""
    return json.dumps(metadata, default=str)


def parameters_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata in the form of the AUTOMATIC1111 web UI.

    That is the prompt, a line with the negative prompt if there is one, and a line of ``Name: value`` pairs with commas
    between; a value that holds a comma, a colon or a line break stands in quotes. Ours stand behind its own.
    """
    params, scheduler = metadata.get("params", {}), metadata.get("scheduler") or {}
    lines = [_text(params.get("prompt", ""))]
    if negative := params.get("negative_prompt"):
        lines.append(f"Negative prompt: {_text(negative)}")
    pairs = {
        "Steps": params.get("num_inference_steps"),
        "Sampler": scheduler.get("name"),
        "Schedule type": scheduler.get("schedule"),
        "CFG scale": params.get("guidance_scale"),
        "Seed": metadata.get("seed"),
        "Size": _size(metadata.get("size") or params),
        "Model": metadata.get("model"),
        "Denoising strength": params.get("strength"),
        # The web UI counts the layer that it takes, from 1; diffusers those that it leaves out.
        "Clip skip": params["clip_skip"] + 1 if isinstance(params.get("clip_skip"), int) else None,
        "Pipeline": metadata.get("pipeline"),
        "Version": f"octabox {metadata['version']}" if "version" in metadata else None,
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items() if value is not None))
    return "\n".join(lines)


def _text(prompt: Any) -> str:
    return "\n".join(map(str, prompt)) if isinstance(prompt, (list, tuple)) else str(prompt)


def _size(sides: Mapping[str, Any]) -> str | None:
    width, height = sides.get("width"), sides.get("height")
    return f"{width}x{height}" if width and height else None


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text


def comment(metadata: Mapping[str, Any], most: int) -> bytes | None:
    """Return metadata as an EXIF comment: the text, then our JSON, in at most so many bytes.

    The text is left out where both together are too long, and there is no comment where the JSON alone is.
    """
    json_line = f"{CHUNK}: {as_json(metadata)}"
    for text in (f"{parameters_text(metadata)}\n{json_line}", json_line):
        encoded = UNICODE + text.encode("utf-16-be", errors="replace")
        if len(encoded) <= most:
            return encoded
    return None


def read(data: bytes) -> dict[str, Any]:
    """Return the metadata that Octabox wrote into a picture, a clip or a sound; {} where there is none."""
    try:
        text = _in_picture(data)
    except UnidentifiedImageError:
        text = _in_container(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}
    try:
        metadata = json.loads(text) if text else {}
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _in_picture(data: bytes) -> str | None:
    with Image.open(io.BytesIO(data)) as image:
        text = image.info.get(CHUNK)
        if isinstance(text, str):
            return text
        remark = image.info.get("comment")
        if isinstance(remark, bytes) and image.format == "GIF":
            return remark.decode("ascii", errors="replace").removeprefix(f"{CHUNK}: ")
        found = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
        return _from_comment(found) if isinstance(found, bytes) else None


def _in_container(data: bytes) -> str | None:
    """Return the comment of a clip or a sound; each format has its own spelling of the word."""
    limits = MediaLimits(max_bytes=len(data))
    try:
        with opened(data, parameter="file", limits=limits, hint="") as container:
            return {key.lower(): text for key, text in container.metadata.items()}.get("comment")
    except MediaError:
        return None


def _from_comment(encoded: bytes) -> str | None:
    """Return our JSON out of an EXIF comment."""
    text = "\n" + encoded.removeprefix(UNICODE).decode("utf-16-be", errors="replace")
    _, mark, found = text.rpartition(f"\n{CHUNK}: ")
    return found if mark else None


def read_parameters(data: bytes) -> dict[str, Any]:
    """Return what the AUTOMATIC1111 web UI wrote into a picture, in our words; {} where there is nothing.

    The model is named as the web UI names it, and a prompt is to be read by its syntax.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            text = image.info.get(TEXT_CHUNK)
            comment_ = image.getexif().get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}
    if not isinstance(text, str):
        text = (
            comment_.removeprefix(UNICODE).decode("utf-16-be", errors="replace") if isinstance(comment_, bytes) else ""
        )
    return from_parameters(text) if text.strip() else {}


def from_parameters(text: str) -> dict[str, Any]:
    """Return what a text of the AUTOMATIC1111 web UI says, in our words."""
    *lines, last = text.strip().split("\n")
    pairs = {name.strip(): _unquoted(value) for name, value in PAIR.findall(last)}
    if len(pairs) < FEWEST_PAIRS:
        lines, pairs = [*lines, last], {}
    start = next((index for index, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    params: dict[str, Any] = {"prompt": "\n".join(lines[:start]).strip()}
    if negative := "\n".join(lines[start:]).removeprefix(NEGATIVE).strip():
        params["negative_prompt"] = negative
    facts: dict[str, Any] = {"params": params | _params(pairs), "prompt_syntax": "a1111"}
    if (seed := _number(pairs.get("Seed"), int)) is not None:
        facts["seed"] = seed
    if model := pairs.get("Model"):
        facts["model"] = model
    names = [pairs.get(name, AUTOMATIC) for name in ("Sampler", "Schedule type")]
    if sampler := " ".join(name for name in names if name != AUTOMATIC):
        facts["scheduler"] = {"name": sampler, "settings": {}}
    return facts


#: How the web UI calls the schedule of timesteps that a sampler has by itself.
AUTOMATIC = "Automatic"

#: Call parameters by that text's words, and what kind of number they are.
FROM_WORDS: dict[str, tuple[str, type[int | float]]] = {
    "num_inference_steps": ("Steps", int),
    "guidance_scale": ("CFG scale", float),
    "strength": ("Denoising strength", float),
    "clip_skip": ("Clip skip", int),
}


def _params(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the call parameters that the pairs of that text mean."""
    params: dict[str, Any] = {}
    for name, (word, kind) in FROM_WORDS.items():
        if (number := _number(pairs.get(word), kind)) is not None:
            params[name] = number
    if "clip_skip" in params:
        params["clip_skip"] = max(params["clip_skip"] - 1, 0)
    if size := re.fullmatch(r"(\d{1,6})x(\d{1,6})", pairs.get("Size", "")):
        params |= {"width": int(size[1]), "height": int(size[2])}
    return params


def _number(text: str | None, kind: type[int | float]) -> float | None:
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value
