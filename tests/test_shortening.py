"""Messages that repeat a client's text."""

from octabox.shortening import MAX_MESSAGE, shorten_message


def test_messages_are_as_they_are_up_to_the_maximum() -> None:
    """A message of the maximum length is not changed."""
    assert shorten_message("a" * MAX_MESSAGE) == "a" * MAX_MESSAGE


def test_the_ends_of_long_messages_remain() -> None:
    """A longer message keeps its beginning and its end, which state the object and what to do."""
    made = shorten_message("The value " + "a" * 10_000_000 + " must be a number.")

    assert made.startswith("The value aaa")
    assert made.endswith("aaa must be a number.")
    assert len(made) < 2 * MAX_MESSAGE
