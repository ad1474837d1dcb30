"""API keys."""

import pytest

from octabox.errors import AuthenticationError, ConfigError
from octabox.security.keys import ApiKeys


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer anything", "nonsense"])
def test_an_open_server(header: str | None) -> None:
    """Without keys every request may pass, whatever its header says."""
    ApiKeys().check(header)


@pytest.mark.parametrize(
    "header", ["Bearer one", "bearer two", "  Bearer   one  ", "Bearer schlüssel".encode().decode("latin-1")]
)
def test_a_right_key(header: str) -> None:
    """Each of the keys opens."""
    ApiKeys(["one", "two", "schlüssel"]).check(header)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "missing"), ("", "missing"), ("Bearer", "missing"), ("Bearer three", "wrong"), ("Bearer on", "wrong"),
        ("Bearer one two", "wrong"), ("Basic one", "wrong"), ("one", "missing"), ("Bearer ☃", "wrong"),
    ],
)  # fmt: skip
def test_a_wrong_key(header: str | None, says: str) -> None:
    """Anything else does not open, and the error says whether a key was shown, but not which."""
    with pytest.raises(AuthenticationError, match=f"The API key is {says}") as caught:
        ApiKeys(["one", "two"]).check(header)

    assert "three" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  "])
def test_an_empty_key(key: str) -> None:
    """An empty key would open to everyone, so it is refused."""
    with pytest.raises(ConfigError, match="empty"):
        ApiKeys(["one", key])
