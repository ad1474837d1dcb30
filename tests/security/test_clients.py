"""Names of clients."""

from octabox.security.clients import client_name


def test_a_client_is_named_by_its_key_else_by_its_address() -> None:
    """Two addresses with one key are one client, and the name is not the key."""
    named = client_name("Bearer secret", "1.2.3.4")

    assert named == client_name("Bearer secret", "5.6.7.8")
    assert named != client_name("Bearer other", "1.2.3.4")
    assert "secret" not in named
    assert ("1.2.3.4", "") == (client_name(None, "1.2.3.4"), client_name(None, None))
