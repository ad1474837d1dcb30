"""Damaged and invented files and texts: whatever reads them raises an error of Octabox, or returns."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from fuzz.budget import fuzz
from makers.samples import content
from octabox.config.document import parse_document
from octabox.errors import OctaboxError
from octabox.hub.adapters.adapter_file import read_embedding, read_lora
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.media.decoding.pool import DecoderPool
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import read_metadata, read_parameters
from octabox.media.metadata.infotext import parse_infotext
from octabox.prompts.attention import parse_prompt
from octabox.prompts.extra import parse_extra
from octabox.prompts.styles import load_styles
from octabox.prompts.wildcards import Wildcards
from spoilt import flac, wav
from trained import EMBEDDINGS, HEARTS

pytestmark = pytest.mark.slow

#: Memory that a reader of heads may take, in bytes.
MOST_MEMORY = 500 << 20


def pickled() -> bytes:
    """Return a checkpoint of torch."""
    file = io.BytesIO()
    torch.save({"emb_params": torch.ones(2, 32), "name": "x"}, file)
    return file.getvalue()


@st.composite
def damaged(draw: st.DrawFn, file: bytes) -> bytes:
    """Draw a file of which parts are changed, missing, repeated, or other bytes; or one of nothing but those."""
    data = bytearray(file)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.one_of(st.integers(0, min(len(data), 64)), st.integers(0, len(data))))
        length = draw(st.integers(0, 16))
        how = draw(st.sampled_from(["change", "cut", "insert", "repeat", "end"]))
        if how == "change":
            data[begin : begin + length] = draw(st.binary(min_size=length, max_size=length))
        elif how == "cut":
            del data[begin : begin + length]
        elif how == "insert":
            data[begin:begin] = draw(st.binary(max_size=16))
        elif how == "repeat":
            data[begin:begin] = data[begin : begin + length] * draw(st.integers(1, 50))
        else:
            del data[begin:]
    return bytes(data)


def reading(read: Callable[[Path], object], file: Path) -> Callable[[bytes], None]:
    """Return a check that writes bytes to a file, and lets it be read."""

    def check(data: bytes) -> None:
        file.write_bytes(data)
        with contextlib.suppress(OctaboxError):
            read(file)

    return check


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Limit the memory that this process may take beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


HEADS: dict[str, tuple[Callable[[Path], object], Callable[[], bytes]]] = {
    "x.safetensors": (read_shapes, lambda: Path(HEARTS).read_bytes()),
    "a lora.safetensors": (lambda file: read_lora(file, "x"), lambda: Path(HEARTS).read_bytes()),
    "an embedding.safetensors": (
        lambda file: read_embedding(file, "x"),
        lambda: next(Path(EMBEDDINGS).glob("*.safetensors")).read_bytes(),
    ),
    "x.pt": (read_shapes, pickled),
    "a lora.bin": (lambda file: read_lora(file, "x"), pickled),
    "an embedding.pt": (lambda file: read_embedding(file, "x"), pickled),
    "x.gguf": (read_shapes, lambda: b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") * 2 + bytes(64)),
    "styles.json": (load_styles, lambda: json.dumps([{"name": "x", "prompt": "{prompt}, red"}]).encode()),
    "styles.csv": (load_styles, lambda: b"name,prompt,negative_prompt\nx,a,b\n"),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", HEADS)
def test_files_in_folders(tmp_path: Path, name: str) -> None:
    """Weights, adapters and styles, with a limit on memory."""
    read, sample = HEADS[name]

    assert fuzz(reading(read, tmp_path / name), damaged(sample()), 0.015)


@pytest.fixture(scope="module")
def decode() -> Iterator[Callable[[str, bytes], None]]:
    """Return what decodes a file as a server does."""
    loop = asyncio.new_event_loop()
    pool = DecoderPool(MediaLimits(), size=1, timeout=20)

    def run(kind: str, data: bytes) -> None:
        with contextlib.suppress(OctaboxError):
            loop.run_until_complete(pool.decode(kind, data, parameter="x"))

    yield run
    pool.close()
    loop.close()


MEDIA: dict[str, tuple[str, Callable[[], bytes]]] = {
    "image": ("image", lambda: content("image")),
    "video": ("video", lambda: content("video")),
    "flac": ("audio", flac),
    "wav": ("audio", lambda: wav(800, 8)),
    "array": ("array", lambda: content("array")),
}


@pytest.mark.parametrize("name", MEDIA)
def test_media(decode: Callable[[str, bytes], None], name: str) -> None:
    """Inputs of requests, in a decoder process."""
    kind, sample = MEDIA[name]

    assert fuzz(lambda data: decode(kind, data), damaged(sample()), 0.03)


#: Characters that mean something to the parsers.
TEXT = st.text(st.one_of(st.sampled_from("(){}[]<>|:,_\\\"'\n\t -+*&!%#.0159eEx~"), st.characters()), max_size=200)

READERS: dict[str, Callable[[str], object]] = {
    "YAML": lambda text: parse_document(text, Path("x.yaml")),
    "A1111's parameters": parse_infotext,
    "a prompt": parse_prompt,
    "extra of a style": parse_extra,
    "wildcards": lambda text: Wildcards(Path("nowhere")).expand(text, 1),
}


@pytest.mark.parametrize("name", READERS)
def test_texts(name: str) -> None:
    """Configuration, prompts, and parameters of files."""

    def check(text: str) -> None:
        with contextlib.suppress(OctaboxError):
            READERS[name](text)

    assert fuzz(check, TEXT, 0.015)


@pytest.mark.parametrize("read", [read_metadata, read_parameters], ids=lambda each: each.__name__)
def test_metadata(read: Callable[[bytes], dict[str, Any]]) -> None:
    """Metadata of images and videos."""

    def check(data: bytes) -> None:
        with contextlib.suppress(OctaboxError):
            read(data)

    assert fuzz(check, damaged(content("image")), 0.015)
