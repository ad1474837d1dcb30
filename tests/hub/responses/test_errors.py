"""What a Hub refuses, each told apart: against a real server, by what huggingface_hub makes of its answers."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled

from local_hub import LocalHub
from octabox.cli.main import cli
from octabox.errors import DownloadError, GatedModelError, IncompatibleWeightsError, ModelNotFoundError, OctaboxError
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.repository import model_index
from octabox.hub.responses.errors import Refusal, hub_error, refusal_error
from octabox.hub.responses.messages import Target

FILES = {"model_index.json": b'{"_class_name": "X", "unet": ["diffusers", "Y"]}', "unet/config.json": b"{}"}


@pytest.fixture
def hub(local_hub: LocalHub) -> LocalHub:
    """Return a Hub with a repository of each kind."""
    local_hub.add("org/open", FILES, old={"v1.0": {"model_index.json": b"{}"}})
    local_hub.add("org/gated", FILES, gated="manual", pending={"bob"}, rejected={"eve"}, members={"alice"})
    local_hub.add("org/private", FILES, private=True, members={"alice"})
    local_hub.add("org/disabled", FILES, disabled=True)
    local_hub.add("org/files", {"big.gguf": b"x", "other.gguf": b"y"})
    local_hub.users |= {"hf_bob": "bob", "hf_eve": "eve", "hf_carol": "carol"}
    return local_hub


def failure(request: PullRequest) -> OctaboxError:
    """Return the error of a plan."""
    with pytest.raises(OctaboxError) as caught:
        make_plan(request)
    return caught.value


CASES: list[tuple[str | None, PullRequest, type[OctaboxError], str, str]] = [
    (None, PullRequest("org/gated"), GatedModelError, "gated_login", "terms at {url}/org/gated, then log in: `octabox login`"),
    ("hf_carol", PullRequest("org/gated"), GatedModelError, "gated_agreement", "carol has not accepted its terms. Accept them"),
    ("hf_bob", PullRequest("org/gated"), GatedModelError, "gated_pending", "user bob awaits the approval"),
    ("hf_eve", PullRequest("org/gated"), GatedModelError, "gated_rejected", "rejected the request of user eve"),
    ("hf_expired", PullRequest("org/open"), GatedModelError, "token_invalid", "even if it is public. Log in with a new token"),
    ("hf_wrong", PullRequest("org/open"), GatedModelError, "token_invalid", "Public models need none: unset HF_TOKEN"),
    ("hf_wrong", PullRequest("org/gated"), GatedModelError, "token_invalid", "token in HF_TOKEN is invalid or expired"),
    (None, PullRequest("org/nothing"), ModelNotFoundError, "model_not_found", "org/nothing on the Hub, or it is private"),
    (None, PullRequest("org/private"), ModelNotFoundError, "model_not_found", "if it is private, log in: `octabox login`"),
    ("hf_carol", PullRequest("org/private"), ModelNotFoundError, "model_not_found", "that user carol may read"),
    (None, PullRequest("org/disabled"), DownloadError, "model_disabled", "has disabled org/disabled"),
    (None, PullRequest("org/open", "v1.1"), ModelNotFoundError, "revision_not_found", "no revision 'v1.1'. Did you mean v1.0?"),
    (None, PullRequest("org/files", file="bik.gguf"), ModelNotFoundError, "file_not_found", "Did you mean big.gguf"),
    (None, PullRequest("no-owner"), ModelNotFoundError, "model_not_found", "no-owner"),
]  # fmt: skip


@pytest.mark.parametrize(("token", "request_", "kind", "code", "words"), CASES, ids=lambda value: str(value)[:40])
def test_each_refusal_is_an_error_of_its_own(
    hub: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    request_: PullRequest,
    kind: type,
    code: str,
    words: str,
) -> None:
    """It says what happened to which repository, and the next command; the token is in none."""
    if token:
        monkeypatch.setenv("HF_TOKEN", token)

    error = failure(request_)

    assert (kind, code, request_.repo) == (type(error), error.code, error.model)
    assert words.replace("{url}", hub.url) in str(error)
    assert not token or token not in str(error)


def test_members_are_not_refused(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token with access opens what is gated and what is private."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")

    assert ["unet/config.json"] == [each.path for each in make_plan(PullRequest("org/gated")).missing]
    assert "diffusers" == make_plan(PullRequest("org/private")).kind


def test_the_rate_limit_has_a_time(hub: LocalHub) -> None:
    """The hint says when to come back."""
    hub.busy = 1

    error = failure(PullRequest("org/open"))

    assert isinstance(error, DownloadError)
    assert ("rate_limited", 7) == (error.code, error.retry_after)
    assert "Try again in 7 seconds; for a higher limit, log in" in error.hint


def test_a_proxy_s_page_is_no_hub(hub: LocalHub) -> None:
    """An address that answers with something else is told from no network."""
    hub.hub = False

    assert "not_a_hub" == failure(PullRequest("org/open")).code
    with pytest.raises(DownloadError, match="does not respond as a Hub"):
        model_index("org/open")


def test_no_network(hub: LocalHub) -> None:
    """What nobody answers cannot be reached."""
    hub.close()

    error = failure(PullRequest("org/open"))

    assert "hub_unreachable" == error.code
    assert hub.url in error.message


@pytest.mark.parametrize(("make", "code"), [
    (lambda: OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
    (lambda: ConnectionResetError(errno.ECONNRESET, "reset"), "connection_reset"),
    (lambda: PermissionError(errno.EACCES, "Permission denied", "/cache/blobs"), "cache_not_usable"),
    (lambda: OSError(errno.EROFS, "Read-only file system", "/cache/blobs"), "cache_not_usable"),
    (lambda: OSError(errno.EIO, "input/output error"), "download_failed"),
])  # fmt: skip
def test_errors_of_the_system(make: Callable[[], OSError], code: str) -> None:
    """A full disk and a cut connection are told from others."""
    assert code == hub_error(make(), "org/open").code


def test_a_repository_of_files_is_no_pipeline(hub: LocalHub) -> None:
    """The hint says how to use one of its files."""
    with pytest.raises(IncompatibleWeightsError, match="octabox pull org/files --file NAME"):
        model_index("org/files")


def test_offline_says_what_is_missing(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a copy it is not there; of half a copy, the missing files are named."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    nothing = failure(PullRequest("org/open"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    plan = make_plan(PullRequest("org/open"))
    plan.repo.prepare(plan.commit)
    plan.repo.write_tree(plan.commit, plan.all_files)
    plan.repo.set_revision(None, plan.commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    half = failure(PullRequest("org/open"))

    assert ("offline", "offline_incomplete") == (nothing.code, half.code)
    assert "lacks unet/config.json" in half.message


def test_a_token_never_leaves_in_a_message(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does any exception that is kept as its cause show it."""
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    error: Any = failure(PullRequest("org/open"))

    texts = []
    while error is not None:
        texts.append(repr(error) + str(error))
        error = error.__cause__
    assert "hf_expired" not in "".join(texts)


def test_an_error_of_a_header_does_not_show_it(hub: LocalHub) -> None:
    """The HTTP library states the value of a header that it cannot send."""
    error = httpx.LocalProtocolError("Illegal header value b'Bearer hf_secret'")
    wrapped = ValueError(str(error))
    wrapped.__cause__ = error

    for each in (error, wrapped):
        assert "hf_secret" not in str(hub_error(each, "org/open"))


def test_a_cache_that_cannot_be_used_is_named() -> None:
    """With its path, and without a word on the disk."""
    error = hub_error(OSError(errno.EROFS, "Read-only file system", "/cache/trees/x"), "org/open")

    assert "The cache cannot be used for org/open: /cache/trees/x: Read-only file system." == error.message
    assert "HF_HOME" in error.hint


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OfflineModeIsEnabled("off"), "only the Hub has the list of models. Unset HF_HUB_OFFLINE."),
        (lambda: ConnectionResetError(errno.ECONNRESET, "reset"), "while the list of models was read. Repeat"),
        (lambda: KeyError("id"), "does not respond as a Hub, so the list of models cannot be read."),
        (lambda: OSError(errno.EIO, "odd"), "the list of models could not be read: [Errno 5] odd Try again later."),
    ],
)
def test_what_is_not_a_repository_is_not_downloaded(make: Callable[[], Exception], words: str) -> None:
    """No message tells to pull it, or that it is not in the cache, and no model is named."""
    error = hub_error(make(), "the list of models")

    assert words in str(error)
    assert "pull" not in str(error)
    assert error.model is None


def test_a_search_offline_names_the_variable(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line, for the list of models and for the account."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for words in (("search", "x"), ("whoami",)):
        error = CliRunner().invoke(cli, [*words]).exception

        assert isinstance(error, DownloadError), error
        assert "HF_HUB_OFFLINE" in str(error)
        assert "pull" not in str(error)


def test_a_page_that_does_not_exist_is_not_of_a_hub() -> None:
    """Such as the list of models at an address of something else."""
    assert "not_a_hub" == refusal_error(Refusal(404, {}, authenticated=False), Target("the list of models")).code
