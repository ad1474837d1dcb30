"""Each refusal of the Hub, told apart, on the command line and over HTTP: exit code, what happened, and what to do next."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from fakes import Server
from local_hub import LocalHub
from octabox.cli.errors import exit_code, show_error
from octabox.cli.main import cli
from octabox.errors import OctaboxError
from octabox.hub.pulls import plan, transfer
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FILES = {
    "model_index.json": b'{"_class_name": "X", "unet": ["diffusers", "Y"]}',
    "unet/config.json": b"{}",
    WEIGHTS: os.urandom(300_000),
}

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Case:
    """A refusal.

    Args:
        code: The code of the error.
        exit: The exit code.
        words: What the message and the hint say; ``{url}`` is the Hub's address.
        source: What is pulled, with the revision.
        file: The file of it.
        token: The token.
        set_up: Changes the Hub and the machine before each attempt.
    """

    code: str
    exit: int
    words: tuple[str, ...]
    source: str = "org/open"
    file: str | None = None
    token: str | None = None
    set_up: Callable[[LocalHub, Patch], Any] = lambda _hub, _patch: None


def offline(_hub: LocalHub, patch: Patch) -> None:
    """Disable the Hub."""
    patch.setattr(constants, "HF_HUB_OFFLINE", True)


def half(hub: LocalHub, patch: Patch) -> None:
    """Disable the Hub, with half of the model in the cache."""
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    planned = make_plan(PullRequest("org/open"))
    planned.repo.prepare(planned.commit)
    planned.repo.write_tree(planned.commit, planned.all_files)
    planned.repo.set_revision(None, planned.commit)
    offline(hub, patch)


CASES = [
    Case("gated_login", 5, ("org/gated is gated", "terms at {url}/org/gated, then log in: `octabox login`"), "org/gated"),
    Case("gated_agreement", 5, ("user carol has not accepted its terms", "{url}/org/gated"), "org/gated", token="hf_carol"),
    Case("gated_pending", 5, ("user bob awaits the approval", "{url}/org/gated"), "org/gated", token="hf_bob"),
    Case("gated_rejected", 5, ("rejected the request of user eve", "choose another model"), "org/gated", token="hf_eve"),
    Case("token_invalid", 5, ("even if it is public", "`octabox login`", "unset HF_TOKEN"), token="hf_expired"),
    Case("token_invalid", 5, ("token in HF_TOKEN is invalid or expired",), "org/gated", token="hf_wrong"),
    Case("model_not_found", 3, ("no model org/nothing on the Hub", "`octabox login`"), "org/nothing"),
    Case("model_not_found", 3, ("no model org/private on the Hub, or it is private",), "org/private"),
    Case("model_not_found", 3, ("org/private on the Hub that user carol may read",), "org/private", token="hf_carol"),
    Case("model_disabled", 5, ("The Hub has disabled org/disabled", "{url}/org/disabled"), "org/disabled"),
    Case("revision_not_found", 3, ("org/open has no revision 'v1.1'", "Did you mean v1.0?"), "org/open@v1.1"),
    Case("file_not_found", 3, ("org/files has no file 'bik.gguf'", "Did you mean big.gguf"), "org/files", "bik.gguf"),
    Case("rate_limited", 5, ("request limit of the Hub", "7 seconds"), set_up=lambda hub, _: setattr(hub, "busy", 1)),
    Case("offline", 5, ("org/open is not in the cache, and the Hub is disabled", "Unset HF_HUB_OFFLINE"), set_up=offline),
    Case("offline_incomplete", 5, ("it lacks unet/config.json", "octabox pull org/open"), set_up=half),
    Case("not_a_hub", 5, ("{url} does not respond as a Hub", "HF_ENDPOINT"), set_up=lambda hub, _: setattr(hub, "hub", False)),
    Case("hub_unreachable", 5, ("{url} cannot be reached", "octabox models"),
         set_up=lambda _, patch: patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")),
    Case("disk_full", 5, ("has no space for org/open", "octabox rm"),
         set_up=lambda _, patch: patch.setattr(plan, "RESERVE", 2**60)),
    Case("checksum_mismatch", 5, (f"checksum of {WEIGHTS} of org/open is wrong", "octabox pull org/open"),
         set_up=lambda hub, _: hub.spoilt.add(f"org/open/{WEIGHTS}")),
    Case("connection_reset", 5, ("connection was interrupted while org/open", "octabox pull org/open"),
         set_up=lambda hub, _: hub.cuts.update({f"org/open/{WEIGHTS}": [0] * 20})),
]  # fmt: skip


@pytest.fixture
def hub(local_hub: LocalHub, monkeypatch: Patch, tmp_path: Any) -> LocalHub:
    """Return a Hub with a repository of each kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "FIRST_DELAY", 0.001)
    local_hub.add("org/open", FILES, old={"v1.0": {"model_index.json": b"{}"}})
    local_hub.add("org/gated", FILES, gated="manual", pending={"bob"}, rejected={"eve"})
    local_hub.add("org/private", FILES, private=True, members={"alice"})
    local_hub.add("org/disabled", FILES, disabled=True)
    local_hub.add("org/files", {"big.gguf": b"x", "other.gguf": b"y"})
    local_hub.users |= {"hf_bob": "bob", "hf_eve": "eve", "hf_carol": "carol"}
    return local_hub


def octabox(*words: str) -> tuple[int, str]:
    """Run the command, and return its exit code and what it writes to standard error."""
    result = CliRunner().invoke(cli, [*words], standalone_mode=False)
    if result.exception is None:
        return 0, result.stderr
    assert isinstance(result.exception, OctaboxError), result.exception
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        show_error(result.exception)
    return exit_code(result.exception), result.stderr + shown.getvalue()


async def pulled(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the last event of a download over HTTP, and its data."""
    server = Server()
    response = await server.http.post("/v1/hub/pulls", json={**body, "stream": True})
    event, _, data = response.text.strip().rpartition("event: ")[2].partition("\ndata: ")
    await server.pulls.close()
    return event, json.loads(data)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.source}-{case.token}")
def test_a_refusal_on_the_command_line_and_over_http(hub: LocalHub, monkeypatch: Patch, case: Case) -> None:
    """It says the same in both places; the token is in neither."""
    if case.token:
        monkeypatch.setenv("HF_TOKEN", case.token)
    repo, _, revision = case.source.partition("@")
    words = [each.replace("{url}", hub.url) for each in case.words]
    file = ["--file", case.file] if case.file else []

    case.set_up(hub, monkeypatch)
    words = [each.replace(hub.url, constants.ENDPOINT) for each in words]
    code, printed = octabox("pull", case.source, *file, "--yes")
    case.set_up(hub, monkeypatch)
    event, data = asyncio.run(pulled({"model": repo, "revision": revision or None, "file": case.file}))

    assert case.exit == code, printed
    assert ("error", "failed", case.code) == (event, data["status"], data["error"]["code"])
    for each in words:
        assert each in printed
        assert each in data["error"]["message"]
    assert not case.token or case.token not in printed + json.dumps(data)


def test_offline_with_a_copy(hub: LocalHub, monkeypatch: Patch) -> None:
    """What is complete is used, and it is said why the Hub was not."""
    first, _ = octabox("pull", "org/open", "--yes")
    offline(hub, monkeypatch)
    again, printed = octabox("pull", "org/open", "--yes")
    event, data = asyncio.run(pulled({"model": "org/open"}))

    assert (0, 0) == (first, again)
    assert "The Hub is disabled by HF_HUB_OFFLINE. The copy in the cache is used." in printed
    assert ("done", "completed") == (event, data["status"])


def test_offline_with_a_file(hub: LocalHub, monkeypatch: Patch) -> None:
    """Single files too; of two, the other one is missing, and is named."""
    first, _ = octabox("pull", "org/files", "--file", "big.gguf", "--yes")
    offline(hub, monkeypatch)
    again, printed = octabox("pull", "org/files", "--file", "big.gguf", "--yes")
    other, missing = octabox("pull", "org/files", "--file", "other.gguf", "--yes")

    assert (0, 0, 5) == (first, again, other), printed
    assert "lacks" not in printed
    assert "it lacks other.gguf" in missing


@pytest.mark.parametrize("file", ["flux-Q5_0.gguf", "flux-Q5_0", "flux-Q4_0.ggu", "/etc/hosts", "../../refs/main"])
def test_offline_no_other_file_is_used(hub: LocalHub, monkeypatch: Patch, file: str) -> None:
    """A similar name is that of another file, and a path is no name."""
    hub.add("org/gg", {"flux-Q4_0.gguf": b"4", "flux-Q5_0.gguf": b"5"})
    first, _ = octabox("pull", "org/gg", "--file", "flux-Q4_0.gguf", "--yes")
    offline(hub, monkeypatch)
    code, printed = octabox("pull", "org/gg", "--file", file, "--as", "other", "--yes")

    assert (0, 5) == (first, code), printed
    assert f"it lacks {file}" in printed


def test_offline_a_file_has_the_short_names_that_it_has_online(hub: LocalHub, monkeypatch: Patch) -> None:
    """Without its suffix or its folder, where only one file has the name."""
    hub.add("org/gg", {"gguf/flux-Q4_0.gguf": b"4", "gguf/flux-Q5_0.gguf": b"5"})
    first, _ = octabox("pull", "org/gg", "--file", "flux-Q4_0", "--yes")
    offline(hub, monkeypatch)
    codes = [octabox("pull", "org/gg", "--file", name, "--yes")[0] for name in ("flux-Q4_0", "flux-Q4_0.gguf")]

    assert [0, 0, 0] == [first, *codes]


def test_offline_with_a_component(hub: LocalHub, monkeypatch: Patch) -> None:
    """A complete one is used; of another, what it lacks is named."""
    hub.add("org/vae", {"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"0" * 99})
    first, _ = octabox("pull", "org/vae", "--yes")
    offline(hub, monkeypatch)
    again, printed = octabox("pull", "org/vae", "--yes")
    (make_plan(PullRequest("org/vae")).folder / "diffusion_pytorch_model.safetensors").unlink()
    torn, missing = octabox("pull", "org/vae", "--yes")

    assert (0, 0, 5) == (first, again, torn), printed
    assert "The copy in the cache is used." in printed
    assert "it lacks diffusion_pytorch_model.safetensors" in missing
