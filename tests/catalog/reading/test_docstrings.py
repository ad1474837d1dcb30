"""Finding words in docstrings."""

from __future__ import annotations

from octabox.catalog.reading.docstrings import ParameterDoc, first_sentence, parse_arguments, parse_section

DOC = """Make images. And more.

Args:
    prompt (`str` or `list[str]`, *optional*):
        The words,
        on two lines.
    image (`torch.Tensor`, `PIL.Image.Image` or
        `np.ndarray`):
        An image.
    strength (`float`, *optional*, defaults to 0.8): How far.
    adapter_image: (`Image`, *optional*): A style.
    plain: No type.

Returns:
    A list.
"""


def test_each_argument_has_its_words() -> None:
    """Types, defaults and descriptions are found in the ways in which they are written."""
    found = parse_arguments(DOC)

    assert ["prompt", "image", "strength", "adapter_image", "plain"] == list(found)
    assert ParameterDoc("str | list[str]", optional=True, text="The words, on two lines.") == found["prompt"]
    assert ParameterDoc("torch.Tensor | PIL.Image.Image | np.ndarray", text="An image.") == found["image"]
    assert ParameterDoc("float", optional=True, default="0.8", text="How far.") == found["strength"]
    assert ParameterDoc("Image", optional=True, text="A style.") == found["adapter_image"]
    assert ParameterDoc(text="No type.") == found["plain"]


def test_what_is_not_written_yet_is_no_description() -> None:
    """A note that somebody should describe a parameter is left out."""
    assert (
        ParameterDoc()
        == parse_section("Inputs:\n    seed (`None`):\n        TODO: Add description.\n", "Inputs")["seed"]
    )


def test_the_first_sentence_describes() -> None:
    """A description is what a docstring opens with, on one line, and not the list after it."""
    assert "Make images." == first_sentence(DOC)
    assert "Two lines." == first_sentence("Two\n lines.\n\nArgs:\n    x: y")
    assert not first_sentence("Args:\n    x: y")
