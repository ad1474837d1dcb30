"""What a picture was made from, inside it: text that other programs read, and JSON that Octabox can run again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image

#: Name of the text chunk that the AUTOMATIC1111 web UI writes, and many programs read.
TEXT_CHUNK = "parameters"

#: Name of the chunk that holds our JSON.
CHUNK = "octabox"

#: Words of that text for call parameters that have one of their own there, in its order.
WORDS = {
    "num_inference_steps": "Steps",
    "guidance_scale": "CFG scale",
    "strength": "Denoising strength",
    "clip_skip": "Clip skip",
}


def as_json(metadata: Mapping[str, Any]) -> str:
    """Return metadata as one line of JSON."""
    return json.dumps(metadata, ensure_ascii=False, default=str)


def parameters_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata in the form of the AUTOMATIC1111 web UI.

    That is the prompt, a line with the negative prompt if there is one, and a line of ``Name: value`` pairs with commas
    between; a value that holds a comma, a colon or a line break stands in quotes.
    """
    params = dict(metadata.get("params", {}))
    lines = [str(params.pop("prompt", ""))]
    if negative := params.pop("negative_prompt", None):
        lines.append(f"Negative prompt: {negative}")
    scheduler, size = metadata.get("scheduler", {}), metadata.get("size", {})
    pairs: dict[str, Any] = {WORDS[name]: params[name] for name in WORDS if name in params}
    pairs |= {
        "Sampler": scheduler.get("name"),
        "Seed": metadata.get("seed"),
        "Size": f"{size['width']}x{size['height']}" if size else None,
        "Model": metadata.get("model"),
        "Version": f"octabox {metadata['version']}" if "version" in metadata else None,
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items() if value is not None))
    return "\n".join(lines)


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text


def read(picture: bytes) -> dict[str, Any]:
    """Return the metadata that Octabox wrote into a picture; {} where there is none."""
    with Image.open(io.BytesIO(picture)) as image:
        text = image.info.get(CHUNK)
        if text is None:
            comment = image.getexif().get_ifd(0x8769).get(0x9286)
            text = _from_comment(comment) if isinstance(comment, bytes) else None
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _from_comment(comment: bytes) -> str | None:
    """Return our JSON out of an EXIF comment."""
    text = comment.removeprefix(b"UNICODE\0").decode("utf-16-be", errors="replace")
    _, mark, found = text.rpartition(f"\n{CHUNK}: ")
    return found if mark else None
