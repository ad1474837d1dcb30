"""Requests that follow the OpenAPI document, and requests that break it: each has a typed answer, and the next one too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import strategies as st

from fuzz.budget import fuzz
from fuzz.schemas import JSON
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

#: Seconds that any request may take: some generate a small image.
LIMIT = 60

#: A request whose outputs are compared before and after all others.
GOOD = {"model": "demo", "prompt": "a red circle", "seed": 1, "num_inference_steps": 2, "response_format": "b64_json"}

#: How much larger the server may be at the end, in bytes: caches of prompts and jobs fill up first.
GROWTH = 200 << 20


@dataclass
class Fuzzed:
    """A server, and a client of it.

    Args:
        client: The client.
        log: The server's log.
    """

    client: httpx.Client
    log: Path

    def good(self) -> Any:
        """Return what the good request makes."""
        return self.client.post("/v1/images/generations", json=GOOD).raise_for_status().json()["data"]

    def memory(self) -> float:
        """Return the memory of the server's process in bytes."""
        processes = psutil.Process().children()
        return float(next(each for each in processes if str(self.log) in each.cmdline()).memory_info().rss)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """Return a server of the embedded model, whose requests are small."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "models").mkdir()
    log = folder / "log"
    flags = ["--log-file", str(log), "--max-image-pixels", "65536", "--max-steps", "3", "--max-outputs", "2"]
    with (
        running_server(folder / "models", *flags) as url,
        httpx.Client(base_url=url, timeout=LIMIT, trust_env=False) as client,
    ):
        yield Fuzzed(client, log)


def check_answer(status: int, content: bytes, log: Path) -> None:
    """Check that an error is typed, and that nothing was raised on the way."""
    body: dict[str, Any] = json.loads(content) if status >= 400 and content else {"code": ""}
    # Hugging Face's clients read a text under `error`, with the code beside it.
    code = body["error"]["code"] if isinstance(body.get("error"), dict) else body["code"]
    assert status < 500 or code not in ("", "internal_error", "generation_failed"), content[:500]
    assert "Traceback" not in log.read_text(encoding="utf-8"), log.read_text(encoding="utf-8")[-3000:]


def test_requests_of_the_document(server: Fuzzed) -> None:
    """Each operation, with values that its schema allows."""
    before, memory = server.good(), server.memory()
    schema = schemathesis.openapi.from_dict(server.client.get("/openapi.json").json())
    operations: list[Any] = [cast("Any", each).ok() for each in schema.get_all_operations()]
    for operation in operations:

        def check(case: Any) -> None:
            answer = case.call(base_url=str(server.client.base_url), timeout=LIMIT)
            check_answer(answer.status_code, answer.content, server.log)

        fuzz(check, operation.as_strategy(), 0.3 / len(operations))

    assert before == server.good()
    assert server.memory() - memory < GROWTH


def fields_of(document: dict[str, Any], path: str) -> list[str]:
    """Return the names of the fields of a JSON body."""
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return sorted(schema["properties"])


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/generations"])
def test_bodies_with_values_of_any_kind(server: Fuzzed, path: str) -> None:
    """A good body in which some fields, known or unknown, have values of any kind at any depth."""
    document = server.client.get("/openapi.json").json()
    names = st.sampled_from([*fields_of(document, path), "num_inference_steps", "guidance_scale", "latents"])

    def check(changes: dict[str, Any]) -> None:
        body: dict[str, Any] = (
            {"model": "demo", "params": {"prompt": "x"}} if path.endswith("v1/generations") else dict(GOOD)
        )
        if isinstance(body.get("params"), dict):
            body["params"].update({name: value for name, value in changes.items() if name not in names_in_body})
        body.update({name: value for name, value in changes.items() if name in names_in_body})
        content = json.dumps(body, ensure_ascii=True).encode()
        answer = server.client.post(path, content=content, headers={"content-type": "application/json"})
        check_answer(answer.status_code, answer.content, server.log)

    names_in_body = set(fields_of(document, path))
    before = server.good()
    fuzz(check, st.dictionaries(names | st.text(max_size=8), JSON, min_size=1, max_size=3), 0.12)

    assert before == server.good()


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_bodies_of_any_bytes(server: Fuzzed, kind: str) -> None:
    """Bodies that are no JSON and no form."""
    part = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    bodies = st.binary(max_size=200) | st.binary(max_size=50).map(lambda data: part + data + b"\r\n--x--\r\n")

    def check(content: bytes) -> None:
        for path in ("/v1/images/edits", "/v1/generations"):
            answer = server.client.post(path, content=content, headers={"content-type": kind})
            check_answer(answer.status_code, answer.content, server.log)

    assert fuzz(check, bodies, 0.03)
