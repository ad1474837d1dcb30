"""API keys."""

import pytest

from octabox.errors import AuthenticationError
from octabox.security.keys import ApiKeys


@pytest.mark.parametrize("shown", ["Bearer one", "bearer two", "  Bearer   one  ", "Bearer schlüssel"])
def test_known_keys(shown: str) -> None:
    """Each of the keys opens, whatever the letter case of its scheme."""
    ApiKeys(["one", "two", "schlüssel"]).check(shown)


@pytest.mark.parametrize("shown", [None, "Bearer one", "nonsense"])
def test_no_keys(shown: str | None) -> None:
    """Without keys everyone may ask."""
    ApiKeys().check(shown)


@pytest.mark.parametrize(
    ("shown", "what"),
    [
        (None, "missing"),
        ("", "missing"),
        ("Bearer", "missing"),
        ("Bearer on", "wrong"),
        ("Bearer onee", "wrong"),
        ("Basic one", "wrong"),
        ("one", "missing"),
    ],
)
def test_wrong_keys(shown: str | None, what: str) -> None:
    """A key that is missing or wrong is refused, and said to be so."""
    with pytest.raises(AuthenticationError, match=what):
        ApiKeys(["one"]).check(shown)
