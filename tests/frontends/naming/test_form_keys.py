"""Lists and objects in the keys of a form."""

from typing import Any

import pytest

from octabox.errors import InvalidParameterError
from octabox.frontends.naming.form_keys import build_value, split_item, split_key
from octabox.security.nesting import MAX_DEPTH


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("scale", ("scale", ())),
        ("timesteps[]", ("timesteps", ("",))),
        ("workflow[hires][scale]", ("workflow", ("hires", "scale"))),
        ("adapters[][weights][text_encoder.0]", ("adapters", ("", "weights", "text_encoder.0"))),
        ("a[b", ("a[b", ())),
        ("a[b]c", ("a[b]c", ())),
        ("[b]", ("[b]", ())),
    ],
)
def test_split_key(key: str, parts: tuple[str, tuple[str, ...]]) -> None:
    """A key has a name and any number of keys in brackets; anything else is a name."""
    assert parts == split_key(key)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("image", ("image", None)),
        ("image[]", ("image", None)),
        ("image[12]", ("image", 12)),
        ("image[image_url]", ("image[image_url]", None)),
        ("[1]", ("[1]", None)),
    ],
)
def test_split_item(key: str, parts: tuple[str, int | None]) -> None:
    """The key of a file may state that it is an item of a list, and which one."""
    assert parts == split_item(key)


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ([("a[]", 1)], [1]),
        ([("a[0]", 1), ("a[1]", 2)], [1, 2]),
        ([("a[1]", 1), ("a[0]", 2)], [2, 1]),
        ([("a[1]", 1), ("a[3]", 2)], {"1": 1, "3": 2}),
        ([("a[b]", 1), ("a[c][d]", 2), ("a[c][e][]", 3)], {"b": 1, "c": {"d": 2, "e": [3]}}),
        ([("a[][x]", 1), ("a[][x]", 2), ("a[][y][0]", 3), ("a[][y][0]", 4)], [{"x": 1, "y": [3]}, {"x": 2, "y": [4]}]),
        ([("a[][x]", 1), ("a[][y]", 2), ("a[][x]", 3), ("a[][y]", 4)], [{"x": 1, "y": 2}, {"x": 3, "y": 4}]),
    ],
)  # fmt: skip
def test_build_value(parts: list[tuple[str, Any]], value: Any) -> None:
    """The parts of a field make one list or object, whether a client sends them by items or by keys."""
    assert value == build_value("a", [(split_key(key)[1], each) for key, each in parts])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["a[b]", "a[b]"], "'a[b]' is given twice"),
        (["a[b]", "a[b][c]"], "'a[b]' is given twice"),
        (["a[]", "a[b]"], "'a' is given twice"),
        (["a[][x]", "a[][x]", "a[][y]"], "not clear which item of 'a'"),
        (["a[][]", "a[][]"], "not clear which item of 'a'"),
        (["a[]", "a[][x]"], "'a[]' is given twice"),
        ([f"a{'[b]' * (MAX_DEPTH + 1)}"], "nested more than 32 levels"),
        ([f"a{'[]' * 2000}"], "nested more than 32 levels"),
    ],
)
def test_keys_that_contradict_each_other(keys: list[str], words: str) -> None:
    """What two parts leave open is refused instead of being guessed, and so is what is nested too deeply."""
    with pytest.raises(InvalidParameterError) as caught:
        build_value("a", [(split_key(key)[1], 1) for key in keys])

    assert words in caught.value.message
