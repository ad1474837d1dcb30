"""Tokens: which one an error blames, and that none is sent or shown that cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from local_hub import LocalHub
from octabox.errors import ForbiddenPathError, GatedModelError, InvalidParameterError, OctaboxError
from octabox.hub.browsing.account import find_account, log_in, log_out
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.repository import model_index


def refusal(action: Callable[[], object]) -> OctaboxError:
    """Return the error of an action."""
    with pytest.raises(OctaboxError) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("current", [None, "hf_alice", "hf_al\u2026ice"])
def test_login_blames_the_token_that_was_entered(
    local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, current: str | None
) -> None:
    """Not the one in use, whatever that is."""
    if current is not None:
        monkeypatch.setenv("HF_TOKEN", current)
    error = refusal(lambda: log_in("hf_wrong"))

    assert isinstance(error, GatedModelError)
    assert "token_invalid" == error.code
    assert "does not accept this token" in error.message
    assert not any(word in str(error) for word in ("HF_TOKEN", "logout", "public", "hf_"))
    assert "alice" == log_in("hf_alice").name


def test_the_token_in_use_is_blamed_for_itself(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account is nothing public."""
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = refusal(find_account)

    assert "The Hub token in HF_TOKEN is invalid or expired." == error.message
    assert "token_invalid" == error.code


@pytest.mark.parametrize("token", ["hf_al\u2026ice", "hf_al\xa0ice", "hf_al\x0cice", "hf_al\x0bice", "hf_al ice"])
def test_what_is_no_token_is_never_sent_or_shown(
    local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """Neither where it is entered nor where it is in use."""
    entered = refusal(lambda: log_in(token))
    monkeypatch.setenv("HF_TOKEN", token)
    actions: tuple[Callable[[], object], ...] = (
        find_account,
        lambda: make_plan(PullRequest("org/shapes")),
        lambda: model_index("org/shapes"),
    )
    used = [refusal(each) for each in actions]

    assert isinstance(entered, InvalidParameterError)
    assert ["token_invalid"] * 3 == [each.code for each in used]
    assert all("HF_TOKEN" in str(each) for each in used)
    assert not any(part in str(each) for each in (entered, *used) for part in ("hf_", "ice"))
    assert [] == local_hub.asked


@pytest.mark.parametrize("answer", [{}, {"name": None}, {"name": 3}, ["alice"], {"name": "", "auth": "read"}])
def test_an_account_without_a_name_is_not_of_a_hub(
    local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """Such as the answer of a proxy; an error about a gated model, which would name the user, is still one."""
    monkeypatch.setattr(HfApi, "whoami", lambda *_, **__: answer)

    assert "not_a_hub" == refusal(find_account).code
    local_hub.add("org/gated", {"model_index.json": b"{}"}, gated="manual")
    local_hub.users["hf_carol"] = "carol"
    monkeypatch.setenv("HF_TOKEN", "hf_carol")
    assert "gated_agreement" == refusal(lambda: make_plan(PullRequest("org/gated"))).code


def test_odd_fields_of_a_token_are_left_out(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is enough."""
    answer = {"name": "al\x1bice", "auth": {"accessToken": {"role": ["read"], "displayName": 3}}}
    monkeypatch.setattr(HfApi, "whoami", lambda *_, **__: answer)
    account = find_account()

    assert ("al\ufffdice", "read", None) == (account.name, account.role, account.token_name)


def test_a_token_that_cannot_be_read_or_deleted(
    local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder in its place, which every user is refused: each command names the file."""
    place = tmp_path / "token"
    place.mkdir()
    local_hub.add("org/shapes", {"model_index.json": b"{}"})
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(place))
    for action in (find_account, log_out, lambda: make_plan(PullRequest("org/shapes"))):
        error = refusal(action)
        assert isinstance(error, ForbiddenPathError)
        assert str(place) in error.message
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    error = refusal(log_out)
    assert isinstance(error, ForbiddenPathError)
    assert f"{place} cannot be deleted" in error.message
