"""Names of clients."""

from octabox.security.clients import client_name
from octabox.security.keys import ApiKeys


def test_a_client_is_named_by_its_key() -> None:
    """However the header of a key is written, and whatever letters it has, the client is one, and the name is not the key."""
    keys = ApiKeys(["secret", "ключ"])
    written = [
        keys.check(each) for each in ("Bearer secret", " bearer  secret ", "Bearer ключ".encode().decode("latin-1"))
    ]
    names = [client_name(each) for each in written if each]

    assert [names[0]] * 2 == names[:2]
    assert client_name("Bearer ключ") == names[2]
    assert names[0] != names[2]
    assert "secret" not in names[0]


def test_without_keys_no_header_names_a_client() -> None:
    """A header that is not checked is not returned."""
    assert ApiKeys().check("Bearer anything") is None
