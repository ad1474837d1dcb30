"""Background jobs on a real server that is killed, or whose workers are."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import started_server


def body(name: str, steps: int) -> dict[str, Any]:
    """Return a small request of the embedded model."""
    params = {"prompt": "a red circle", "num_inference_steps": steps, "width": 64, "height": 64}
    return {"model": "demo", "params": params, "seed": 3, "id": name}


def wait(client: httpx.Client, name: str, *statuses: str) -> dict[str, Any]:
    """Return a job once it has one of these statuses."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        job: dict[str, Any] = client.get(f"/v1/jobs/{name}").json()
        if job.get("status") in statuses:
            return job
        time.sleep(0.05)
    raise AssertionError(f"{name} is {job}")


@pytest.mark.slow
def test_jobs_survive_the_end_of_a_server(tmp_path: Path) -> None:
    """What has ended keeps its link; what ran runs again, at its place, and what waited follows; each has one result."""
    models, data = tmp_path / "models", {"OCTABOX_DATA_DIR": str(tmp_path / "data")}
    models.mkdir()
    with (
        started_server(models, environment=data) as (url, process),
        httpx.Client(base_url=url, timeout=240, trust_env=False) as client,
    ):
        assert 202 == client.post("/v1/jobs", json=body("first", 2)).status_code
        link = wait(client, "first", "completed")["result"]["outputs"][0]["url"]
        content = client.get(link).content
        requests = [body("second", 200), body("third", 2)]
        assert 202 == client.post("/v1/jobs", json=requests).status_code
        wait(client, "second", "in_progress")
        process.kill()
        process.wait(60)
    with (
        started_server(models, environment=data) as (url, _),
        httpx.Client(base_url=url, timeout=240, trust_env=False) as client,
    ):
        assert content == client.get(link.partition("/results/")[1] + link.partition("/results/")[2]).content
        third, second = wait(client, "third", "completed"), wait(client, "second", "completed")
        listed = client.get("/v1/jobs", params={"order": "asc"}).json()

    assert ["first", "second", "third"] == [job["id"] for job in listed["data"]]
    assert (2, 1) == (second["attempts"], third["attempts"])
    assert second["started_at"] < third["started_at"]
    assert {"completed": 3} == {name: count for name, count in listed["counts"].items() if count}


@pytest.mark.slow
def test_jobs_with_previews_survive_one_killed_worker_and_no_second(tmp_path: Path) -> None:
    """Its events go on with higher ids, and one that has ended two workers fails with the code of that."""
    models, data = tmp_path / "models", {"OCTABOX_DATA_DIR": str(tmp_path / "data")}
    models.mkdir()
    with (
        started_server(models, environment=data) as (url, _),
        httpx.Client(base_url=url, timeout=240, trust_env=False) as client,
    ):
        ids = {kills: kill_at_previews(client, f"job-{kills}", kills) for kills in (1, 2)}
        survived, lost = (wait(client, f"job-{kills}", "completed", "failed") for kills in (1, 2))

    assert ("completed", 1) == (survived["status"], survived["attempts"])
    assert any("The request was run again" in warning for warning in survived["result"]["warnings"])
    assert ("failed", "worker_lost") == (lost["status"], lost["error"]["code"])
    assert [True, True] == [found == sorted(set(found)) for found in ids.values()]


def kill_at_previews(client: httpx.Client, name: str, kills: int) -> list[int]:
    """Run a job whose workers are killed at their first previews, so many of them; return the ids of its events."""
    steps = {"partial_images": 2, **body(name, 200)}
    assert 202 == client.post("/v1/jobs", json=steps).status_code
    killed, ids = set[int](), list[int]()
    with client.stream("GET", f"/v1/jobs/{name}/events") as events:
        for line in events.iter_lines():
            if line.startswith("id:"):
                ids.append(int(line[3:]))
            if "data:image" in line and len(killed) < kills:
                pid = client.get("/v1/models/demo").json()["status"]["pid"]
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
    assert kills == len(killed)
    return ids
