"""A real server when things go wrong: keys, a full queue, a client that leaves, a worker that is killed, the server's end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving import running_server

GOOD = {"model": "demo", "prompt": "a red circle on a blue background", "num_inference_steps": 2, "seed": 1}
LONG = {**GOOD, "num_inference_steps": 900}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client, with its key, of a server that has short queues and asks for keys."""
    folder = tmp_path_factory.mktemp("models")
    with running_server(folder, "--api-keys", "secret", "--queue-size", "1") as url:
        key = {"authorization": "Bearer secret"}
        with httpx.Client(base_url=url, headers=key, timeout=240, trust_env=False) as client:
            yield client


def ask(http: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    """Ask for an image."""
    return http.post("/v1/images/generations", json={**body, "response_format": "b64_json"})


def leave(http: httpx.Client, body: dict[str, Any]) -> None:
    """Ask for an image, and go away before it is there."""
    with httpx.Client(base_url=http.base_url, headers=http.headers, timeout=0.5, trust_env=False) as leaver:
        ask(leaver, body)


def status(http: httpx.Client) -> dict[str, Any]:
    """Return what the embedded model does now; {} where it is not in memory."""
    return dict(http.get("/v1/models/demo").json().get("status") or {})


def wait_for(http: httpx.Client, state: str) -> dict[str, Any]:
    """Wait until the embedded model is in a state."""
    end = time.monotonic() + 240
    while (now := status(http)).get("state") != state:
        assert time.monotonic() < end, now
        time.sleep(0.02)
    return now


def test_a_server_with_keys_asks_for_one(http: httpx.Client) -> None:
    """Without a key, or with a wrong one, nothing is served but health."""
    bare = httpx.Client(base_url=http.base_url, trust_env=False)
    with bare:
        wrong = bare.get("/v1/models", headers={"authorization": "Bearer guess"})

        assert 401 == bare.get("/v1/models").status_code == wrong.status_code
        assert "invalid_api_key" == wrong.json()["error"]["code"]
        assert bare.get("/healthz").is_success


def test_a_request_survives_one_killed_worker_and_no_second(http: httpx.Client) -> None:
    """It is run again; where that worker is killed too it gets its own error, and the next one is served as before."""
    before = ask(http, GOOD).json()["data"][0]["b64_json"]
    answers: list[httpx.Response] = []
    running = threading.Thread(target=lambda: answers.append(ask(http, LONG)))
    running.start()
    first = wait_for(http, "busy")["pid"]
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 240
    while (now := wait_for(http, "busy")["pid"]) == first:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert running.is_alive()
    os.kill(now, signal.SIGKILL)
    running.join()

    assert (500, "worker_died") == (answers[0].status_code, answers[0].json()["error"]["code"])
    assert before == ask(http, GOOD).json()["data"][0]["b64_json"]


def test_a_client_that_leaves_frees_the_worker(http: httpx.Client) -> None:
    """A request whose client is gone is cancelled, streaming or not; the same worker serves the next one."""
    ask(http, GOOD)
    pid = status(http)["pid"]
    for stream in (False, True):
        with pytest.raises(httpx.ReadTimeout):
            leave(http, {**LONG, "stream": stream})

    assert pid == wait_for(http, "ready")["pid"]
    assert ask(http, GOOD).is_success


def test_a_full_queue_says_when_to_come_back(http: httpx.Client) -> None:
    """Where no more may wait, the answer is 429 with a time; all others succeed."""
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(http, GOOD))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code == 429]

    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {200, 429} == {answer.status_code for answer in answers}


def test_metrics_tell_what_happened(http: httpx.Client) -> None:
    """Requests are counted by model and outcome, and the model's memory is shown."""
    ask(http, GOOD)
    text = http.get("/metrics").text

    assert 'octabox_requests_total{model="demo",outcome="ok"}' in text
    assert 'octabox_memory_bytes{model="demo",place="host"}' in text


@pytest.mark.slow
def test_the_end_of_a_server_answers_and_leaves_no_process(tmp_path: Path) -> None:
    """A server that is told to stop while a model runs says so to the client, and ends its processes, even stopped ones."""
    answers: list[httpx.Response] = []
    with httpx.Client(timeout=240, trust_env=False) as http:
        with running_server(tmp_path) as url:
            http.base_url = httpx.URL(url)
            running = threading.Thread(target=lambda: answers.append(ask(http, LONG)))
            running.start()
            worker = psutil.Process(wait_for(http, "busy")["pid"])
            processes = [worker, psutil.Process(worker.ppid())]
            for process in processes:
                process.suspend()
        running.join(60)

    assert (503, "server_stopping") == (answers[0].status_code, answers[0].json()["error"]["code"])
    assert int(answers[0].headers["retry-after"]) >= 1
    _, left = psutil.wait_procs(processes, timeout=10)
    assert [] == left
