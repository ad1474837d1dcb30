"""The infotext of an image as the web UI reads it, and its place in a PNG file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from octabox.frontends.http.a1111.samplers import label_of, schedule_label
from octabox.media.metadata.chunks import TEXT_CHUNK
from octabox.media.metadata.infotext import format_infotext, split_infotext
from octabox.media.metadata.passes import HIRES_GUIDANCE_KEYS, guidance_pairs
from octabox.schedulers.names import parse_scheduler_choice, resolve_scheduler

#: Signature of PNG files, and the length of the first chunk with its header and checksum (PNG, 5.2 and 11.2.2).
SIGNATURE, HEADER_SIZE = b"\x89PNG\r\n\x1a\n", 25

#: Types of chunks with text.
TEXT_TYPES = (b"tEXt", b"iTXt", b"zTXt")

#: Pairs of an infotext that are keys of ``info`` themselves.
STANDARD = frozenset(
    {
        "Steps",
        "Sampler",
        "CFG scale",
        "Seed",
        "Size",
        "Model",
        "Model hash",
        "VAE",
        "Denoising strength",
        "Clip skip",
        "Variation seed",
        "Variation seed strength",
        "Seed resize from",
        "Version",
    }
)


@dataclass(frozen=True)
class Guidances:
    """The parameters of the guidance of both passes: of classifier-free guidance, and of distilled models, if there are both.

    Args:
        first: Those of the first pass.
        second: Those of the second pass.
    """

    first: tuple[str, str | None]
    second: tuple[str, str | None]

    def pairs(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pairs of an infotext for the guidance of both passes."""
        hires = (metadata.get("workflow") or {}).get("hires") or {}
        second = guidance_pairs(hires.get("params") or {}, self.second, HIRES_GUIDANCE_KEYS)
        return guidance_pairs(metadata.get("params") or {}, self.first) | (second if hires else {})


def build_infotext(
    metadata: Mapping[str, Any],
    prompt: str,
    extra: Mapping[str, Any],
    label: str,
    known: Collection[str],
    guidances: Guidances | None = None,
) -> str:
    """Return the infotext of an image.

    Args:
        metadata: Its metadata.
        prompt: Its prompt with the tags of LoRAs, which the metadata lists elsewhere.
        extra: Other pairs, such as the hash of the model.
        label: Name of the sampler in the web UI; empty for that of the class in the metadata.
        known: The available classes of samplers.
        guidances: The parameters of the guidance; None if only the metadata have them.
    """
    scheduler = dict(metadata.get("scheduler") or {})
    if scheduler:
        scheduler["name"] = label or label_of(str(scheduler.get("name")), known)
    if schedule := scheduler.get("schedule"):
        scheduler["schedule"] = schedule_label(str(schedule))
    params = dict(metadata.get("params") or {})
    if "written" in metadata or "prompt" not in params:
        tags = "".join(f" <lora:{each['lora']}:{each['weight']:g}>" for each in metadata.get("adapters") or ())
        prompt = f"{params.get('prompt', '')}{tags}"
    described = {**metadata, "scheduler": scheduler, "params": {**params, "prompt": prompt}}
    if hires := (metadata.get("workflow") or {}).get("hires"):
        described["workflow"] = {**metadata["workflow"], "hires": _labelled(hires, known)}
    return format_infotext(described, {**(guidances.pairs(metadata) if guidances else {}), **extra})


def _labelled(hires: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return a second pass whose sampler and schedule have the names of the web UI."""
    choice = parse_scheduler_choice(hires.get("scheduler"))
    if choice is None:
        return dict(hires)
    resolved = resolve_scheduler(choice.name, choice.settings, known)
    schedule = schedule_label(resolved.schedule.name) if resolved.schedule else None
    return {**hires, "scheduler": {"name": label_of(choice.name, known), "schedule": schedule}}


def extra_pairs(infotext: str) -> dict[str, str]:
    """Return the pairs of an infotext that ``info`` has no other key for."""
    pairs = split_infotext(infotext)[2]
    return {name: value for name, value in pairs.items() if name not in STANDARD}


def replace_infotext(content: bytes, infotext: str) -> bytes:
    """Return a PNG file with another infotext; a file of another format is returned unchanged."""
    if not content.startswith(SIGNATURE):
        return content
    start = len(SIGNATURE) + HEADER_SIZE
    parts, position = [content[:start], _text_chunk(infotext)], start
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        kind = content[position + 4 : position + 8]
        keyword = content[position + 8 : position + 8 + length].partition(b"\0")[0]
        if kind not in TEXT_TYPES or keyword != TEXT_CHUNK.encode():
            parts.append(content[position:end])
        position = end
    return b"".join(parts)


def _text_chunk(text: str) -> bytes:
    """Return the chunk of a text: in Latin-1 if possible, since many readers support nothing else, else in UTF-8."""
    keyword = TEXT_CHUNK.encode()
    try:
        kind, data = b"tEXt", keyword + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        kind, data = b"iTXt", keyword + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
