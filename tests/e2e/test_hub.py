"""Models of the Hub through a server: a gated one is refused with the link, others are downloaded while it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_hub import LocalHub, folder_files
from octabox import demo
from serving import running_server
from trained import HEARTS

FILES = folder_files(demo.FOLDER)
UNET = "unet/diffusion_pytorch_model.safetensors"
PARAMS = {"prompt": "a red star", "num_inference_steps": 2}


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    """Return a Hub with the embedded model, open and gated."""
    with LocalHub().running() as hub:
        hub.add("org/shapes", FILES)
        hub.add("org/gated", FILES, gated="auto")
        hub.add("org/hearts", {"hearts.safetensors": Path(HEARTS).read_bytes()})
        hub.add("org/spare", {**FILES, "unet/config.json": FILES["unet/config.json"] + b"\n"})
        yield hub


@pytest.fixture(scope="module")
def client(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a server with an empty cache that takes any model of the Hub."""
    place: Path = tmp_path_factory.mktemp("hub")
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}
    with (
        running_server(place / "models", "--allow-hub", environment=environment) as url,
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        yield client


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and the data of events."""
    name = ""
    for line in response.iter_lines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def test_a_gated_model_is_refused_with_the_link(hub: LocalHub, client: httpx.Client) -> None:
    """By both APIs: what happened, the page of the terms, and the next command."""
    sentence = (
        "org/gated is gated: its owner requires an agreement, and you are not logged in. "
        f"Accept its terms at {hub.url}/org/gated, then log in: `octabox login`."
    )
    native = client.post("/v1/generations", json={"model": "org/gated", "params": PARAMS})
    openai = client.post("/v1/images/generations", json={"model": "org/gated", "prompt": "a red star"})

    assert [(403, "gated_login", sentence)] * 2 == [
        (each.status_code, each.json()["error"]["code"], each.json()["error"]["message"]) for each in (native, openai)
    ]


@pytest.mark.slow
def test_a_model_is_downloaded_by_its_first_request(hub: LocalHub, client: httpx.Client) -> None:
    """The progress is in bytes, then the request goes on to its image; meanwhile the server serves others."""
    hub.pause = 0.01
    body = {"model": "org/shapes", "params": PARAMS, "stream": True}
    seen: list[dict[str, Any]] = []
    other = None
    with client.stream("POST", "/v1/generations", json=body) as response:
        for name, data in events(response):
            seen.append({"event": name, **data})
            if data.get("phase") == "downloading" and other is None:
                other = client.post("/v1/generations", json={"model": "demo", "params": PARAMS})
    hub.pause = 0.0
    bytes_ = [each["bytes"] for each in seen if each.get("phase") == "downloading"]

    assert sorted(bytes_) == bytes_
    assert sum(map(len, FILES.values())) == bytes_[-1]
    assert "done" == seen[-1]["event"], seen[-1]
    assert other is not None
    assert other.is_success


def test_pulls_are_followed_and_cancelled(hub: LocalHub, client: httpx.Client) -> None:
    """A download is started, cancelled, continued with events, listed, described and removed."""
    hub.pause = 0.02
    started = client.post("/v1/hub/pulls", json={"model": "org/spare"}).json()
    cancelled = client.delete(f"/v1/hub/pulls/{started['id']}").json()
    hub.pause = 0.0
    with client.stream(
        "POST", "/v1/hub/pulls", json={"model": "org/spare", "name": "spare", "stream": True}
    ) as response:
        name, last = [*events(response)][-1]
    models = {each["name"]: each for each in client.get("/v1/hub/models").json()["data"]}
    known = client.get("/v1/hub/models/org/spare").json()
    served = [each["id"] for each in client.get("/v1/models").json()["data"]]

    assert "cancelled" == cancelled["status"]
    assert ("done", "completed", last["total_bytes"]) == (name, last["status"], last["bytes"])
    assert models["org/spare"]["complete"]
    assert ("cache", True, []) == tuple(known[key] for key in ("where", "served", "missing"))
    assert "spare" in served
    assert client.delete("/v1/hub/models/org/spare?dry_run=true").json()["freed"] > 10_000_000
    assert client.delete("/v1/hub/models/org/spare").json()["removed"]
    assert 404 == client.delete("/v1/hub/models/org/spare").status_code


@pytest.mark.slow
def test_a_loaded_model_is_not_removed(client: httpx.Client) -> None:
    """Its worker has the files open."""
    assert client.post("/v1/models/org/shapes/load").status_code in {200, 404}
    refused = client.delete("/v1/hub/models/org/shapes")

    assert 400 == refused.status_code
    assert "in use" in refused.json()["error"]["message"]


@pytest.mark.slow
def test_a_lora_is_downloaded_by_a_request_and_kept_while_it_is_loaded(hub: LocalHub, client: httpx.Client) -> None:
    """Its bytes are progress of the request; neither this server nor another process of this user removes it."""
    body = {"model": "demo", "params": PARAMS, "adapters": [{"lora": "org/hearts"}], "stream": True}
    with client.stream("POST", "/v1/generations", json=body) as response:
        seen = [{"event": name, **data} for name, data in events(response)]
    refused = client.delete("/v1/hub/models/org/hearts")
    missing = client.post("/v1/generations", json={**body, "stream": False, "adapters": [{"lora": "org/nobody"}]})

    assert "done" == seen[-1]["event"], seen[-1]
    size = Path(HEARTS).stat().st_size
    assert size == [each["bytes"] for each in seen if each.get("phase") == "downloading"][-1]
    assert size == hub.sent["org/hearts/hearts.safetensors"]
    assert (400, True) == (refused.status_code, "in use" in refused.json()["error"]["message"])
    assert (404, "model_not_found") == (missing.status_code, missing.json()["error"]["code"])


@pytest.mark.slow
def test_a_token_is_in_no_log_and_no_answer(hub: LocalHub, tmp_path: Path) -> None:
    """At the level with the most messages; and only the Hub itself receives it."""
    log = tmp_path / "server.log"
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_alice",
    }
    environment |= {"OCTABOX_LOG_LEVEL": "debug", "OCTABOX_LOG_FILE": str(log)}
    before = len(hub.asked)
    with (
        running_server(tmp_path / "models", "--allow-hub", environment=environment) as url,
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        answers = [
            client.post("/v1/generations", json={"model": "org/gated", "params": PARAMS}).text,
            client.post("/v1/hub/pulls", json={"model": "org/spare", "stream": True}).text,
            client.get("/v1/hub/search", params={"q": "shapes"}).text,
            client.get("/v1/hub/models/org/shapes").text,
        ]
    asked = hub.asked[before:]

    assert "user alice has not accepted its terms" in answers[0]
    assert "event: done" in answers[1]
    assert "hf_alice" not in "".join(answers) + log.read_text()
    assert "hf_alice" in {token for _, path, token in asked if not path.startswith("/cdn/")}
    assert {None} == {token for _, path, token in asked if path.startswith("/cdn/")}
