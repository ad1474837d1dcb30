"""The credentials of the web UI: users, and API keys."""

from __future__ import annotations

import base64

import httpx
import pytest

from fakes import Server
from octabox.config.settings import Settings
from octabox.frontends.http.a1111.access import credentials_check

PATH = "/sdapi/v1/progress"


@pytest.mark.parametrize(
    ("settings", "auth", "status"),
    [
        ({}, None, 200),
        ({"a1111_auth": "me:secret"}, None, 401),
        ({"a1111_auth": "me:secret,you:other"}, ("you", "other"), 200),
        ({"a1111_auth": "me:secret"}, ("me", "wrong"), 401),
        ({"a1111_auth": "me:secret", "api_keys": "key"}, ("anyone", "key"), 200),
        ({"api_keys": "key"}, ("me", "secret"), 401),
    ],
)
async def test_users(settings: dict[str, str], auth: tuple[str, str] | None, status: int) -> None:
    """A user and a password are checked, and a key may be the password; without both all are accepted."""
    server = Server(**settings)
    answer = await server.http.get(PATH, auth=auth)

    assert status == answer.status_code
    assert (401 == status) == ("Basic" == answer.headers.get("www-authenticate"))
    assert {"error", "detail", "body", "errors"} <= set(answer.json()) or status == 200


@pytest.mark.parametrize(
    ("header", "status"), [("Bearer key", 200), ("Bearer other", 401), ("Basic !", 401), ("", 401)]
)
async def test_keys(header: str, status: int) -> None:
    """A key is accepted as for the other APIs."""
    answer = await Server(api_keys="key").http.get(PATH, headers={"authorization": header})

    assert status == answer.status_code


def test_a_key_is_one_client_with_any_user() -> None:
    """It is the same as with its key alone; each user of this API is another one."""
    check = credentials_check(Settings.model_validate({"a1111_auth": "me:secret", "api_keys": "key"}))
    basic = [f"Basic {base64.b64encode(each).decode()}" for each in (b"one:key", b"two:key", b"me:secret")]

    assert ["Bearer key"] * 3 + ["Basic me:secret"] == [check(each) for each in ("bearer  key", *basic)]


async def test_an_empty_header_on_an_open_server() -> None:
    """Open WebUI always sends one."""
    assert 200 == (await Server().http.get(PATH, headers={"authorization": ""})).status_code


async def test_users_are_those_of_this_api_alone() -> None:
    """The other APIs do not accept them, and are open without keys."""
    server = Server(a1111_auth="me:secret", api_keys="key")

    assert 401 == (await server.http.get("/v1/models", auth=("me", "secret"))).status_code


async def test_the_api_can_be_left_out() -> None:
    """Then there is no such route, and the others are served."""
    server = Server(a1111=False)

    assert 404 == (await server.http.get(PATH)).status_code
    assert 200 == (await server.http.get("/v1/models")).status_code


@pytest.mark.parametrize("value", ["me", "me:", ":secret"])
def test_a_user_without_a_password_is_refused(value: str) -> None:
    """It would accept whoever sends no password."""
    with pytest.raises(ValueError, match="USER:PASSWORD"):
        Settings.model_validate({"a1111_auth": value})


async def test_a_client_gets_its_cookie_once() -> None:
    """It distinguishes the clients of one address."""
    server = Server()
    first, second = await server.http.get(PATH), await server.http.get(PATH)

    assert isinstance(first, httpx.Response)
    assert "octabox_caller" in first.headers["set-cookie"]
    assert "set-cookie" not in second.headers
