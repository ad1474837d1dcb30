"""API keys."""

import pytest

from octabox.errors import AuthenticationError, ConfigError
from octabox.security.keys import ApiKeys


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer anything", "nonsense"])
def test_an_open_server(header: str | None) -> None:
    """Without keys every request is accepted, whatever its header is."""
    ApiKeys().check(header)


@pytest.mark.parametrize(
    "header", ["Bearer one", "bearer two", "  Bearer   one  ", "Bearer schlüssel".encode().decode("latin-1")]
)
def test_a_right_key(header: str) -> None:
    """Each of the keys is accepted."""
    ApiKeys(["one", "two", "schlüssel"]).check(header)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing"), ("", "missing"), ("Bearer", "missing"), ("Bearer three", "wrong"), ("Bearer on", "wrong"),
        ("Bearer one two", "wrong"), ("Basic one", "wrong"), ("one", "missing"), ("Bearer ☃", "wrong"),
    ],
)  # fmt: skip
def test_a_wrong_key(header: str | None, reason: str) -> None:
    """Anything else is refused; the error states whether a key is missing or wrong, but not which key."""
    with pytest.raises(AuthenticationError, match=f"The API key is {reason}") as caught:
        ApiKeys(["one", "two"]).check(header)

    assert "three" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  "])
def test_an_empty_key(key: str) -> None:
    """An empty key would accept all requests, so it is refused."""
    with pytest.raises(ConfigError, match="empty"):
        ApiKeys(["one", key])
