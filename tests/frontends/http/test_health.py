"""Health, figures and results."""

import asyncio

import httpx
import pytest

from fakes import Server
from octabox.frontends.http import health
from octabox.service.jobs.errors import JobStoreError
from octabox.types import ModelStatus


async def test_ready() -> None:
    """A server is ready when its models are; it is healthy before that."""
    server = Server()
    server.models.is_ready = False
    healthy, starting = await server.http.get("/healthz"), await server.http.get("/readyz")
    server.models.is_ready = True
    ready = await server.http.get("/readyz")

    assert [200, 503, 200] == [answer.status_code for answer in (healthy, starting, ready)]


async def test_models_of_preload_belong_to_readiness() -> None:
    """The server starts until they are loaded; the error of one that is not is told, until a request has loaded it."""
    server = Server(preload=["org/painter", "nothere"])
    states = [(await server.http.get("/readyz")).json()["status"]]
    for name in server.preloads.names:
        await server.preloads.load(name, server.models, lambda _: None)
    failed = await server.http.get("/readyz")
    server.models.loaded["nothere"] = ModelStatus("nothere", "ready")
    ready = await server.http.get("/readyz")

    assert ["starting"] == states
    assert (503, "failed", ["nothere"]) == (
        failed.status_code,
        failed.json()["status"],
        list(failed.json()["failures"]),
    )
    assert (200, {"status": "ready"}) == (ready.status_code, ready.json())


async def test_figures() -> None:
    """Requests are counted by model and outcome; names that clients invent make no figures."""
    server = Server()
    for model in ("demo", "demo", "invented"):
        await server.generate(model=model, prompt="x", n=2)
    text = (await server.http.get("/metrics")).text

    assert 'octabox_requests_total{model="demo",outcome="ok"} 2.0' in text
    assert 'octabox_requests_total{model="(unknown)",outcome="ModelNotFoundError"} 1.0' in text
    assert 'octabox_artifacts_total{kind="image",model="demo"} 4.0' in text
    assert 'octabox_waiting{model="demo"} 2.0' in text
    assert "invented" not in text


@pytest.mark.parametrize("responds", [True, False])
async def test_figures_do_not_wait_for_the_store_of_jobs(monkeypatch: pytest.MonkeyPatch, *, responds: bool) -> None:
    """While it fails or does not respond, what it knows is left out, and not what it was before or nothing."""
    server = Server()
    await server.http.post("/v1/jobs", json={"model": "demo", "params": {"prompt": "x"}})
    known = (await server.http.get("/metrics")).text

    async def fail(*_: object) -> dict[str, int]:
        await asyncio.sleep(0 if responds else 60)
        raise JobStoreError("It is being restarted.")

    monkeypatch.setattr(health, "STORE_TIMEOUT", 0.05)
    monkeypatch.setattr(server.queue.store, "count_by_status", fail)
    unknown = await server.http.get("/metrics")

    assert "octabox_jobs{" in known
    assert "octabox_job_result_bytes 0" in known
    assert 200 == unknown.status_code
    assert "octabox_jobs{" not in unknown.text
    assert "octabox_job_result_bytes" not in unknown.text
    assert "octabox_waiting{" in unknown.text


async def test_streams_are_counted() -> None:
    """A stream that was read to its end is a success."""
    server = Server()
    await server.generate(prompt="x", stream=True)
    text = (await server.http.get("/metrics")).text

    assert 'octabox_requests_total{model="demo",outcome="ok"} 1.0' in text


async def test_result_is_a_file() -> None:
    """A result has its type and length, may be asked for by HEAD and in part, and is not guessed at by browsers."""
    server = Server()
    url = (await server.generate(prompt="x")).json()["data"][0]["url"]
    whole, head = await server.http.get(url), await server.http.head(url)
    part = await server.http.get(url, headers={"range": "bytes=0-3"})

    assert (200, b"") == (head.status_code, head.content)
    assert str(len(whole.content)) == head.headers["content-length"]
    assert (206, b"\x89PNG") == (part.status_code, part.content)
    assert "nosniff" == whole.headers["x-content-type-options"]


@pytest.mark.parametrize(
    "path", ["/healthz", "/health", "/readyz", "/metrics", "/v1/models", "/v1/models/demo", "/docs"]
)
async def test_head_is_get_without_a_body(path: str) -> None:
    """Whatever may be read may be asked for by HEAD."""
    server = Server()
    read, head = await server.http.get(path), await server.http.head(path)

    assert (200, 200, b"") == (read.status_code, head.status_code, head.content)
    assert read.headers["content-length"] == head.headers["content-length"]


async def test_caches_keep_a_result_as_long_as_the_server() -> None:
    """A browser does not show a result from its cache after its time, nor fetch it again before."""
    url = (await (server := Server(result_ttl=100)).generate(prompt="x")).json()["data"][0]["url"]
    cached = (await server.http.get(url)).headers["cache-control"]

    assert 90 <= int(cached.removeprefix("private, max-age=")) <= 100


async def test_result_that_is_not_there() -> None:
    """A result that is not there, or lies outside their folder, is 404 in OpenAI's shape."""
    server = Server()
    paths = ["none.png", "..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "..none.png", "%00"]
    answers: list[httpx.Response] = [await server.http.get(f"/results/{path}") for path in paths]

    assert [(404, "not_found")] * 5 == [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
