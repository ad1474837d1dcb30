"""Every parser of a client's text takes time in proportion to its length, so that none holds the server for a small request."""

from __future__ import annotations

import asyncio
import gc
import importlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

import octabox
from octabox.config.memory.durations import parse_duration
from octabox.engine.worker.prompts.parsed import parse_prompts
from octabox.errors import OctaboxError, nearest
from octabox.frontends.http.a1111.generation.defaults import infotext_warnings, with_infotext
from octabox.frontends.http.a1111.generation.infotext import extra_pairs
from octabox.frontends.http.a1111.generation.plots.values import parse_values
from octabox.frontends.http.bodies import read_object
from octabox.frontends.http.network.forwarded import ForwardedHeaders
from octabox.frontends.http.openai.images.schema import parse_fields
from octabox.frontends.http.openai.images.translate import to_request
from octabox.frontends.naming.form_keys import split_item, split_key
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.frontends.naming.parameters import requested_size
from octabox.frontends.naming.prompts import split_prompt
from octabox.media.fetcher import decode_text
from octabox.media.metadata.chunks import decode_comment
from octabox.media.metadata.infotext import parse_infotext
from octabox.prompts.attention import has_weights
from octabox.prompts.comments import inner_comments, remove_comments
from octabox.prompts.compel_limits import check_compel_limits
from octabox.prompts.extra import parse_extra
from octabox.prompts.styles import apply_style
from octabox.prompts.wildcards import Wildcards
from octabox.schedulers.names import resolve_scheduler
from octabox.security.hosts import parse_origin, split_host
from octabox.service.conditions.lora import without_tags
from octabox.service.workflows.settings import parse_workflow

#: Length of the longest text, and the shortest one; each is four times as long as the one before.
LONGEST, SHORTEST = 102_400, 400

#: How many times as long four times the text may take: a linear parser takes 4 times, a quadratic one 16.
GROWTH = 11.0

#: Seconds below which nothing is measured: caches and the clock decide.
NOISE = 0.02

#: What the texts consist of.
UNITS = (
    *"([{<|,:;=\"'\\-_./#%@$ \t\na0",
    *(
        "()",
        "[]",
        "{}",
        "<>",
        "a ",
        "a,",
        "a:",
        "a=",
        "0x",
        "0,",
        "( ",
        "{|",
        "|}",
        "__",
        "a_",
        "1-",
        "::",
        "\\\\",
        "0.",
        "1e",
    ),
    *(
        "(a:1)",
        "(a b)+ , ",
        "<lora:a:1>",
        " , ",
        '"a" ',
        ', "',
        "__a__",
        "{a|b}",
        "[a:b]",
        "data:a/",
        "1s",
        "a: b, ",
        "BREAK ",
    ),
)
OPENING, CLOSING = "([{<", ")]}>"


def texts(length: int) -> dict[str, str]:
    """Return texts of a length by what they consist of: each unit alone, before and behind what ends it, and nestings."""
    made: dict[str, str] = {}
    for unit in UNITS:
        row = unit * (length // len(unit))
        made |= {f"{unit!r}": row, f"{unit!r} to a mark": f"x{row}\0!"}
    for blank in " ,":
        made[f"{blank!r} before a tag"] = f"x{blank * length}x <lora:a:1>"
    for left, right in zip(OPENING, CLOSING, strict=True):
        half = length // 2
        made |= {
            f"{left}{right} nested": left * half + right * half,
            f"{left} closed by others": left * half + ("]" if right == ")" else ")") * half + "|x",
            f"{left}{right} unclosed": left * half + f"{left}{right}" * (half // 2),
        }
    return made


def without_errors(parse: Callable[[str], Any]) -> Callable[[str], object]:
    """Return a parser whose refusals are results."""

    def parsed(text: str) -> object:
        try:
            return parse(text)
        except (OctaboxError, ValueError, RecursionError) as error:
            return error

    return parsed


def forwarded(name: str) -> Callable[[str], object]:
    """Return what reads a header of a proxy."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        pass

    def parse(text: str) -> None:
        headers = [(name.encode(), text.encode("latin-1", "replace"))]
        scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": headers}
        asyncio.run(ForwardedHeaders(app, ["*"])(scope, receive, send))

    return parse


def image_request(text: str) -> object:
    """Return a request of OpenAI's images API with this text as its prompt, its size and another field."""
    return to_request(
        parse_fields({"model": "a", "prompt": text, "size": text, "quality": text, text[:900]: text}), "a"
    )


WILDCARDS = Wildcards(Path("no-such-folder"))

#: Parsers of texts by their names.
PARSERS: dict[str, Callable[[str], object]] = {
    "LocalAI's bar": split_prompt,
    "OpenAI's images": image_request,
    "a size": lambda text: requested_size(text, {}),
    "a key of a form": split_key,
    "a list in a form": split_item,
    "JSON or text": parse_json_or_text,
    "a body": lambda text: read_object(text.encode()),
    "weights of the web UI": lambda text: parse_prompts({"prompt": text}, "a1111"),
    "weights in plain prompts": has_weights,
    "limits of Compel": lambda text: check_compel_limits(text, "prompt"),
    "tags of LoRAs": lambda text: without_tags({"prompt": text}),
    "wildcards": lambda text: WILDCARDS.expand(text, 1),
    "wildcards in plain prompts": WILDCARDS.named_in,
    "styles": lambda text: apply_style(text[: LONGEST // 4], [text[: LONGEST // 4], "{prompt}, a"], "prompt"),
    "settings of styles": parse_extra,
    "comments": lambda text: (remove_comments(text), inner_comments(text)),
    "an infotext": parse_infotext,
    "an infotext of a request": lambda text: with_infotext({"infotext": text}),
    "an infotext's warnings": lambda text: list(infotext_warnings(text)),
    "an infotext of an image": extra_pairs,
    "a comment of a file": lambda text: decode_comment(text.encode()),
    "numbers of a plot": lambda text: parse_values("Steps", text),
    "texts of a plot": lambda text: parse_values("Prompt S/R", text),
    "a scheduler": lambda text: resolve_scheduler(text, {}, ("EulerDiscreteScheduler",)),
    "a duration": parse_duration,
    "a misspelled name": lambda text: nearest(text, ["prompt", "num_inference_steps"]),
    "a data URL": lambda text: decode_text(text, "image"),
    "a host": split_host,
    "an origin": parse_origin,
    "a workflow": lambda text: parse_workflow({"hires": {"scale": text, "upscaler": text}, text[:900]: text}),
    **{f"the header {name}": forwarded(name) for name in ("x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix")},
}

#: Rooms that read what clients send.
ROOMS = ("config", "frontends", "media", "prompts", "schedulers", "security", "service")

#: Functions of a pattern that try each position of a text, and those that try the first alone.
SEARCHES, MATCHES = {"finditer", "search", "sub", "findall", "split"}, {"fullmatch", "match"}


def patterns(room: str) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Yield the functions of a room's patterns that its code uses, with their names."""
    root = Path(octabox.__file__).parent
    for file in sorted((root / room).rglob("*.py")):
        source = file.read_text("utf-8")
        if "re.compile(" not in source:
            continue
        module = ".".join(("octabox", *file.relative_to(root).with_suffix("").parts))
        for variable, pattern in vars(importlib.import_module(module)).items():
            if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                used = set(re.findall(rf"\b{variable}\.(\w+)\(", source))
                ways = {"finditer"} if used & SEARCHES else set()
                for way in sorted(ways | (used & MATCHES)):
                    yield f"{module}.{variable}.{way}", getattr(pattern, way)


def seconds(parse: Callable[[str], object], text: str) -> float:
    """Return the seconds of this thread that a parser takes."""
    gc.disable()
    try:
        start = time.thread_time()
        parse(text)
        return time.thread_time() - start
    finally:
        gc.enable()


def find_growth(parse: Callable[[str], object]) -> str:
    """Return over which text a parser takes too many times as long when it is four times as long; empty if over none."""
    for name in texts(SHORTEST):
        length, before = SHORTEST, 0.0
        while length <= LONGEST:
            text = texts_of(length)[name]
            taken = seconds(parse, text)
            if taken > NOISE and length > SHORTEST and taken > GROWTH * before:
                # The least of several is that without the other programs of the machine.
                shorter = texts_of(length // 4)[name]
                before = min(seconds(parse, shorter) for _ in range(3))
                taken = min(taken, *(seconds(parse, text) for _ in range(2)))
                if taken > NOISE and taken > GROWTH * before:
                    return f"{name}: {before:.4f} s for {length // 4} characters, {taken:.4f} s for {length}"
            if length * 4 == LONGEST and taken < NOISE / 4:
                # Even a quadratic parser would take no time that anyone notices.
                break
            before, length = max(taken, NOISE / 16), length * 4
    return ""


_TEXTS: dict[int, dict[str, str]] = {}


def texts_of(length: int) -> dict[str, str]:
    """Return the texts of a length, which are made once."""
    return _TEXTS.setdefault(length, texts(length))


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_take_time_in_proportion_to_the_text(name: str) -> None:
    """Four times a text takes a parser about four times as long, whatever brackets, marks and blanks it consists of."""
    parse = without_errors(PARSERS[name])
    parse("a red star")

    assert not find_growth(parse)


@pytest.mark.parametrize("room", ROOMS)
def test_patterns_take_time_in_proportion_to_the_text(room: str) -> None:
    """So does each pattern of the rooms that read what clients send."""
    slow: dict[str, str] = {}
    for name, match in patterns(room):

        def parse(text: str, match: Callable[[str], Any] = match) -> object:
            found = match(text)
            return found if found is None or isinstance(found, re.Match) else sum(1 for _ in found)

        if found := find_growth(parse):
            slow[name] = found

    assert slow == {}
