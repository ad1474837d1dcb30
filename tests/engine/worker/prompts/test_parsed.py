"""Prompts are parsed by their syntax."""

from __future__ import annotations

import pytest

from octabox.engine.worker.prompts.parsed import ParsedPrompt, parse_prompts
from octabox.errors import InvalidParameterError


def parse(text: str, syntax: str) -> ParsedPrompt:
    """Return a parsed prompt."""
    return parse_prompts({"prompt": text}, syntax)["prompt"]


def weights(prompt: ParsedPrompt) -> list[tuple[str, float]]:
    """Return all fragments of a prompt, without spaces and with rounded weights."""
    branches = [branch for section in prompt.sections for branch in section.branches]
    return [(each.text.strip(), round(each.weight, 4)) for branch in branches for each in branch]


def test_only_prompts_are_parsed() -> None:
    """Parameters with other names or types are ignored."""
    params = {"prompt": "a", "negative_prompt_2": "b", "prompt_embeds": "c", "eta": "d", "prompt_3": None}

    assert ["prompt", "negative_prompt_2"] == list(parse_prompts(params, "plain"))


def test_plain() -> None:
    """No syntax is parsed."""
    prompt = parse(r"a (red:1.5) \{x\} BREAK dog++", "plain")

    assert r"a (red:1.5) \{x\} BREAK dog++" == prompt.text
    assert not prompt.is_weighted


def test_a1111() -> None:
    """Weights and sections are those of the web UI, and escaped characters are unescaped."""
    prompt = parse(r"a (red:1.5) \{x\} BREAK dog", "a1111")

    assert [("a", 1.0), ("red", 1.5), ("{x}", 1.0), ("dog", 1.0)] == weights(prompt)
    assert "a red {x} dog" == prompt.text
    assert prompt.is_weighted
    assert 2 == len(prompt.sections)


@pytest.mark.parametrize(
    ("text", "expected", "plain"),
    [
        ("a red++ ball", [("a", 1.0), ("red", 1.21), ("ball", 1.0)], "a red ball"),
        ("(red ball)1.5 on blue-", [("red ball", 1.5), ("on", 1.0), ("blue", 0.9)], "red ball on blue"),
        ('("a cat", "a dog").blend(1, 0.5)', [("a cat", 1.0), ("a dog", 1.0)], "a cat a dog"),
        ("()", [("", 1.0)], ""),
        ("a (ball", [("a (ball", 1.0)], "a (ball"),
    ],
)
def test_compel(text: str, expected: list[tuple[str, float]], plain: str) -> None:
    """Signs, numbers, blends, an empty weight, and a bracket that is not closed."""
    prompt = parse(text, "compel")

    assert expected == weights(prompt)
    assert plain == prompt.text


def test_conjunctions_and_blends() -> None:
    """Each part of a conjunction and each branch of a blend has its weight."""
    parts = parse('("a", "b").and(1, 0.5)', "compel").sections
    blend = parse('("a", "b").blend(0.7, 0.3)', "compel").sections[0]

    assert [1.0, 0.5] == [part.weight for part in parts]
    assert (0.7, 0.3) == blend.blend_weights


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("((((x))))", "more than 3 nested brackets"),
        ("a (b c " * 6, "more than 3 nested brackets"),
        ("cat.swap(dog)", "has no effect"),
        ("x.withLora(foo, 0.5)", "has no effect"),
    ],
)
def test_unsupported_syntax_of_compel(text: str, words: str) -> None:
    """Deep nesting and unsupported features give a warning, and the prompt is used without weights."""
    prompt = parse(text, "compel")

    assert words in prompt.warnings[0]
    assert not prompt.is_weighted


@pytest.mark.parametrize(
    ("text", "syntax"),
    [("(a:99)", "a1111"), ("(a)99", "compel"), ("a" + "+" * 40, "compel"), ('("a", "b").and(1, 99)', "compel")],
)
def test_weights_out_of_range(text: str, syntax: str) -> None:
    """They are rejected in both syntaxes."""
    with pytest.raises(InvalidParameterError, match="weight"):
        parse(text, syntax)


@pytest.mark.parametrize("syntax", ["a1111", "compel"])
@pytest.mark.parametrize(
    "text", [r'{"objects": [{"name": "a (red:1.5) ball++", "note": "\\{x\\} BREAK"}]}', '["a cat", "(a dog)1.5"]']
)
def test_json_has_no_syntax(text: str, syntax: str) -> None:
    """A prompt that is JSON reaches the model as it is, also its brackets and backslashes."""
    prompt = parse(text, syntax)

    assert text == prompt.text
    assert not prompt.is_weighted
