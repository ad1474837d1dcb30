"""Wildcards: files and choices, inside one another, by the seed alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from octabox.errors import InvalidParameterError
from octabox.prompts.wildcards import Wildcards, unescape


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of wildcards."""
    files = {
        "colour.txt": "# warm\nred\n\n  orange  \n2::blue\n",
        "thing.txt": "a __colour__ {circle|square}\n",
        "round/one.txt": "__round/two__\n",
        "round/two.txt": "__one__\n",
        "deep/er/shape.txt": "\ufeffstar\n",
        "empty.txt": "# nothing\n\n",
        "many.txt": "__more__ __more__ __more__ __more__\n",
        "more.txt": "__most__ __most__ __most__ __most__\n",
        "most.txt": f"{'x' * 5000}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00\xd8")
    return tmp_path


def test_a_file_s_lines(folder: Path) -> None:
    """Each line comes as often as its share says; comments and empty lines never do."""
    wildcards = Wildcards(folder)
    found = Counter(wildcards.expand("__colour__", seed) for seed in range(400))

    assert {"red", "orange", "blue"} == set(found)
    assert 160 < found["blue"] < 240


def test_choices() -> None:
    """Each part comes as often as its share says, and one of no share never does."""
    wildcards = Wildcards(Path("nowhere"))
    found = Counter(wildcards.expand("{a|b|2::c|0::d|}", seed) for seed in range(500))

    assert {"a", "b", "c", ""} == set(found)
    assert 150 < found["c"] < 250


def test_the_seed_alone_decides(folder: Path) -> None:
    """The same seed gives the same words; prompt and negative prompt are drawn apart."""
    wildcards = Wildcards(folder)
    text = "__thing__ and {a|b|c|d} __deep/er/shape__"

    assert wildcards.expand(text, 5) == Wildcards(folder).expand(text, 5)
    assert 5 < len({wildcards.expand(text, seed) for seed in range(40)})
    assert any(wildcards.expand(text, seed) != wildcards.expand(text, seed, "negative_prompt") for seed in range(5))


def test_wildcards_hold_others(folder: Path) -> None:
    """A line may name other files and have choices, and a choice may have choices."""
    wildcards = Wildcards(folder)
    words = {wildcards.expand("__thing__", seed) for seed in range(100)}

    assert {f"a {colour} {shape}" for colour in ("red", "orange", "blue") for shape in ("circle", "square")} == words
    assert {"a", "b", "c"} == {wildcards.expand("{a|{b|c}}", seed) for seed in range(50)}
    assert "star" == wildcards.expand("__shape__", 0)


@pytest.mark.parametrize(
    "text",
    [
        "plain words",
        "{alone}",
        "{a|b",
        "a|b}",
        r"\{a|b\}",
        r"\__colour__"[:5],
        "__init",
        "____",
        "__../secret__",
        '{"prompt": "a|b", "style": "__colour__"}',
    ],
)
def test_what_is_no_wildcard_stays(text: str, folder: Path) -> None:
    """Single brackets, JSON, escapes and what never ends are words."""
    assert text == Wildcards(folder).expand(text, 0)


def test_what_was_written_out_can_be_read_again(folder: Path) -> None:
    """Escapes stay in, so that a second time changes nothing; a reader takes them away."""
    wildcards = Wildcards(folder)
    once = wildcards.expand(r"\{a|b\} \__colour\__ {x|x}", 1)

    assert once == wildcards.expand(once, 2)
    assert "{a|b} __colour__ x" == unescape(once)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__round/one__", "refer to each other in a cycle: round/two -> one -> round/two"),
        ("__color__", "There is no wildcard 'color'"),
        ("__empty__", "has no lines"),
        ("__bad__", "cannot be read"),
        ("{0::a|0::b}", "no option with a positive weight"),
        ("__many__", "more than 50000 characters"),
        ("{a|b}" * 1001, "more than 1000 choices"),
    ],
)
def test_refusals(text: str, words: str, folder: Path) -> None:
    """What cannot be written out is refused, and the parameter is named."""
    with pytest.raises(InvalidParameterError) as caught:
        Wildcards(folder).expand(text, 0, "negative_prompt")

    assert words in caught.value.message
    assert "negative_prompt" == caught.value.parameter


def test_an_unknown_wildcard_names_the_nearest(folder: Path) -> None:
    """The error says which one may have been meant."""
    with pytest.raises(InvalidParameterError) as caught:
        Wildcards(folder).expand("__color__", 0)

    assert "Did you mean __colour__?" == caught.value.hint
    assert "colour" in caught.value.choices


def test_choices_inside_one_another() -> None:
    """A choice is followed inwards only so far."""
    with pytest.raises(InvalidParameterError, match="more than 50 nested choices"):
        Wildcards(Path("nowhere")).expand("{0::a|" * 60 + "b|b" + "}" * 60, 0)


@pytest.mark.parametrize("text", ["{" * 20_000, "__a " * 10_000, "{|" * 20_000, "}" * 20_000 + "{a|b"])
def test_long_prompts_are_read_at_once(text: str) -> None:
    """No prompt takes time that grows faster than its length."""
    assert text == Wildcards(Path("nowhere")).expand(text, 0)
