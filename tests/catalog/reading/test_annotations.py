"""Understanding annotations."""

from __future__ import annotations

import ast

import pytest

from octabox.catalog.reading.annotations import Shape, parse_annotation, read_annotation


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Optional[Union[str, List[str]]]", "str | list[str] | None"),
        ("typing.Optional[int]", "int | None"),
        ("Tuple[int, int]", "tuple[int, int]"),
        ("Dict[str, Any]", "dict[str, object]"),
        ("'PIL.Image.Image' | torch.Tensor", "PIL.Image.Image | torch.FloatTensor"),
        ("Annotated[int, 'steps']", "int"),
    ],
)
def test_spellings_do_not_matter(old: str, new: str) -> None:
    """The old and the new way to write a type mean the same."""
    assert parse_annotation(new) == parse_annotation(old)


def test_lists_are_told_from_what_they_hold() -> None:
    """A type says which values may stand alone, and which only in a list."""
    shape = parse_annotation("float | list[list[int]] | None")

    assert {"number"} == shape.atoms
    assert {"number", "integer"} == shape.leaves
    assert (2, True) == (shape.depth, shape.none)


def test_choices_are_kept() -> None:
    """The values of Literal are the choices."""
    assert ("a", 2) == parse_annotation("Literal['a', 2, None]").choices


def test_an_alias_is_followed() -> None:
    """A name that stands for a type means that type; one that is defined by itself ends the search."""
    aliases = {"Picture": "PIL.Image.Image | None", "Loop": "list[Loop]"}
    follow = lambda name: ast.parse(aliases[name], mode="eval").body if name in aliases else None  # noqa: E731

    assert Shape(frozenset({"image"}), none=True) == read_annotation(ast.parse("Picture", mode="eval").body, follow)
    assert {"Loop"} == read_annotation(ast.parse("Loop", mode="eval").body, follow).leaves


def test_nonsense_says_nothing() -> None:
    """What is no valid Python allows nothing in particular."""
    assert Shape() == parse_annotation("list[")
