"""Background jobs by our own API, over fakes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import Server
from octabox.errors import MediaError, OutOfMemoryError
from octabox.types import ModelInfo
from queue_houses import until

PATH = "/v1/jobs"
GOOD: dict[str, Any] = {"model": "demo", "params": {"prompt": "a cat"}, "seed": 5}


@pytest.fixture
def server() -> Server:
    """Return a server over fakes."""
    return Server()


async def ended(server: Server, name: str) -> dict[str, Any]:
    """Return a job once it has ended."""
    text = (await asyncio.wait_for(server.http.get(f"{PATH}/{name}/events"), 20)).text
    assert text.startswith("id: ")
    return (await server.http.get(f"{PATH}/{name}")).json()  # type: ignore[no-any-return]


async def test_a_job_is_accepted_and_ends(server: Server) -> None:
    """The response has its place and the time to ask again; later it has the result, whose link works."""
    answer = await server.http.post(PATH, json={**GOOD, "id": "a", "priority": 2})
    job = answer.json()
    done = await ended(server, "a")

    assert (202, "/v1/jobs/a") == (answer.status_code, answer.headers["location"])
    assert int(answer.headers["openai-poll-after-ms"]) > 0
    assert int(answer.headers["retry-after"]) > 0
    assert ("queued", 2, 0) == tuple(job[name] for name in ("status", "priority", "attempts"))
    assert ("completed", "demo", 5) == (done["status"], done["model"], done["seed"])
    output = done["result"]["outputs"][0]
    assert (await server.http.get(output["url"])).content.startswith(b"\x89PNG")
    assert "retry-after" not in (await server.http.get(f"{PATH}/a")).headers


async def test_generations_in_the_background(server: Server) -> None:
    """The same job by the route for generations, which finds and deletes it too."""
    answer = await server.http.post("/v1/generations", json={**GOOD, "id": "a", "background": True})
    await ended(server, "a")
    found = (await server.http.get("/v1/generations/a")).json()
    deleted = (await server.http.delete("/v1/generations/a")).json()

    assert (202, "completed", True) == (answer.status_code, found["status"], deleted["deleted"])
    assert 404 == (await server.http.get(f"{PATH}/a")).status_code


async def test_a_form(server: Server) -> None:
    """Files of a form are stored with the job."""
    answer = await server.http.post(PATH, data={"request": json.dumps(GOOD)}, files={"image": ("a.png", b"one")})
    await ended(server, answer.json()["id"])

    assert {"image": (b"one",)} == server.generations.requests[-1].inputs


@pytest.mark.parametrize("as_object", [True, False])
async def test_a_batch(server: Server, *, as_object: bool) -> None:
    """A list of requests is a batch."""
    requests = [{**GOOD, "id": name} for name in "ab"]
    answer = await server.http.post(PATH, json={"requests": requests, "priority": 3} if as_object else requests)
    body = answer.json()
    await server.http.post(PATH, json={**GOOD, "id": "other"})
    listed = (await server.http.get(PATH, params={"batch": body["id"], "order": "asc"})).json()
    everything = (await server.http.get(PATH)).json()

    assert ("queued", 2, 2) == (body["status"], body["request_counts"]["total"], body["request_counts"]["queued"])
    assert (2, 3) == (listed["request_counts"]["total"], sum(listed["counts"].values()))
    assert "request_counts" not in everything
    assert (202, "batch", ["a", "b"]) == (answer.status_code, body["object"], [job["id"] for job in body["data"]])
    assert ["a", "b"] == [job["id"] for job in listed["data"]]
    assert [3 if as_object else 0] * 2 == [job["priority"] for job in body["data"]]


async def test_defaults_of_a_batch() -> None:
    """They are those of each request that leaves a field out, also as null."""
    server = Server(webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    await server.http.post(f"{PATH}/pause")
    requests = [{**GOOD, "priority": None, "webhook": None}, {**GOOD, "priority": 0, "webhook": "https://one.example/"}]
    batch = {"requests": [*requests, GOOD], "priority": 3, "webhook": "https://all.example/"}
    data = (await server.http.post(PATH, json=batch)).json()["data"]
    jobs = [await server.queue.find(job["id"]) for job in data]

    assert [3, 0, 3] == [job.priority for job in jobs]
    assert ["https://all.example/", "https://one.example/", "https://all.example/"] == [job.webhook for job in jobs]


async def test_a_list_is_json_by_itself(server: Server) -> None:
    """What follows it is an error, as in an object; a list that is too deep is one too."""
    bodies = [f'[{json.dumps(GOOD)}], "priority": 9', "[" * 300 + "]" * 300, '[{"model": "\\ud800"}]']
    headers = {"content-type": "application/json"}
    refused = [await server.http.post(PATH, content=body, headers=headers) for body in bodies]

    assert [400] * 3 == [response.status_code for response in refused]
    assert "not valid JSON" in refused[0].json()["error"]["message"]
    assert [] == (await server.http.get(PATH)).json()["data"]


async def test_two_requests_of_a_batch_with_the_same_id(server: Server) -> None:
    """The client is told which ones; nothing is stored, and the disk is not suspected."""
    answer = await server.http.post(PATH, json=[{**GOOD, "id": name} for name in ("a", "b", "a")])
    error = answer.json()["error"]

    assert (400, "invalid_value", "id") == (answer.status_code, error["code"], error["param"])
    assert error["message"].startswith("Request 2 of the batch: Its id 'a' is that of request 0 too.")
    assert [] == (await server.http.get(PATH)).json()["data"]


async def test_a_key_makes_a_request_repeatable(server: Server) -> None:
    """The second response has the first job, and says so; another request with the key is refused."""
    headers = {"idempotency-key": "k"}
    first = await server.http.post(PATH, json=GOOD, headers=headers)
    second = await server.http.post(PATH, json=GOOD, headers=headers)
    third = await server.http.post(PATH, json={**GOOD, "seed": 6}, headers=headers)

    assert first.json()["id"] == second.json()["id"]
    assert "true" == second.headers["idempotent-replayed"]
    assert (422, "idempotency_key_reused") == (third.status_code, third.json()["error"]["code"])


@pytest.mark.parametrize("body", [{**GOOD, "priority": 1}, {**GOOD, "webhook": "https://example.com/x"}, [GOOD]])
async def test_a_key_belongs_to_all_that_a_request_asks_for(body: Any) -> None:
    """Whatever differs from the first request is refused in words: an order, a notice, the form of the response."""
    server = Server(webhook_secret="whsec_" + "A" * 32)
    headers = {"idempotency-key": "k"}
    await server.http.post(PATH, json=GOOD, headers=headers)
    other = await server.http.post(PATH, json=body, headers=headers)
    same = await server.http.post(PATH, json=GOOD, headers=headers)

    assert (422, "idempotency_key_reused") == (other.status_code, other.json()["error"]["code"])
    assert "true" == same.headers["idempotent-replayed"]


async def test_a_key_of_another_api_with_the_same_request() -> None:
    """The job of one API cannot be shown by another one."""
    server = Server()
    server.add("wan", "WanPipeline")
    headers = {"idempotency-key": "k"}
    video = {"model": "wan", "prompt": "a cat", "seed": 5}
    first = await server.http.post("/v1/videos", json=video, headers=headers)
    made = server.generations.seen[-1]
    body = {"model": "wan", "task": made.task, "params": dict(made.params), "seed": 5, "id": "mine"}
    await server.http.post(PATH, json=body, headers={"idempotency-key": "other"})
    again = await server.http.post("/v1/videos", json=video, headers={"idempotency-key": "other"})

    assert 200 == first.status_code
    assert (422, "idempotency_key_reused") == (again.status_code, again.json()["error"]["code"])


async def test_lists_are_filtered_and_paged(server: Server) -> None:
    """By status, model and owner, page by page."""
    server.generations.hang = True
    names = ["a", "b", "c"]
    for name in names:
        await server.http.post(PATH, json={**GOOD, "id": name})
    await server.http.post(f"{PATH}/b/cancel")
    page = (await server.http.get(PATH, params={"limit": 2})).json()
    rest = (await server.http.get(PATH, params={"limit": 2, "after": page["last_id"]})).json()

    async def ids(**params: str) -> list[str]:
        return [job["id"] for job in (await server.http.get(PATH, params={"order": "asc", **params})).json()["data"]]

    assert (["c", "b"], True) == ([job["id"] for job in page["data"]], page["has_more"])
    assert (["a"], False) == ([job["id"] for job in rest["data"]], rest["has_more"])
    assert ["b"] == await ids(status="cancelled, failed")
    assert ["a", "c"] == await ids(status="queued,in_progress")
    assert names == await ids(model="demo", owner=page["data"][0]["owner"])
    assert [] == await ids(owner="nobody")
    assert 1 == page["counts"]["cancelled"]
    for name in names:
        await server.http.delete(f"{PATH}/{name}")


async def test_a_job_tells_what_was_asked_for(tmp_path: Path) -> None:
    """While it waits, after its end, and to a server that reads it from the disk; files are named, without their content."""
    fields: dict[str, Any] = {
        **GOOD,
        "params": {
            "prompt": "data: a cat, black",
            "image": "data:image/png;base64,AAAA",
            "sigmas": [0.5] * 9000,
            "words": "w" * 9000,
        },
        "num_outputs": 2,
        "scheduler": {"name": "euler", "use_karras_sigmas": True},
        "adapters": [{"lora": "hearts", "weight": 0.5}],
        "styles": ["film"],
        "prompt_syntax": "a1111",
        "workflow": {"upscale": 2},
        "output": {"format": "jpeg", "quality": 80},
        "keep_alive": 60,
    }
    server = Server(data_dir=tmp_path)
    server.generations.hang = True
    form = {"request": json.dumps({**fields, "id": "a"})}
    first = await server.http.post(PATH, data=form, files={"mask": ("a.png", b"one")})
    waiting = (await server.http.get(f"{PATH}/a")).json()
    await server.http.post(f"{PATH}/a/cancel")
    await server.http.post(PATH, json={**GOOD, "id": "b"})
    ended_job = (await server.http.get(f"{PATH}/a")).json()
    await server.queue.close()
    again = Server(data_dir=tmp_path)
    again.generations.hang = True
    listed = (await again.http.get(PATH, params={"order": "asc"})).json()["data"]
    await again.http.delete(f"{PATH}/b")

    expected = {**fields, "params": {"prompt": "data: a cat, black", "words": "w" * 9000}}
    for job in (first.json(), waiting, ended_job, listed[0]):
        assert expected == job["request"]
        assert {"image", "mask", "sigmas"} == {*job["media"]}
    assert ("queued", "a cat", []) == (
        listed[1]["status"],
        listed[1]["request"]["params"]["prompt"],
        listed[1]["media"],
    )


async def test_the_request_of_a_job_is_a_whole_body() -> None:
    """With its priority of now, its webhook and its previews; a part of the workflow that is too long to show is named."""
    server = Server(webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    server.generations.hang = True
    hook = "https://one.example/"
    fields = {**GOOD, "id": "a", "priority": 3, "webhook": hook, "partial_images": 2}
    workflow = {"upscale": {"scale": 2}, "refiner": {"prompt": "w" * 20_000}}
    await server.http.post(PATH, json={**fields, "workflow": workflow})
    await server.http.patch(f"{PATH}/a", json={"priority": 5})
    job = (await server.http.get(f"{PATH}/a")).json()
    await server.http.delete(f"{PATH}/a")

    assert (5, hook, 2) == tuple(job["request"][name] for name in ("priority", "webhook", "partial_images"))
    assert ({"upscale": {"scale": 2}}, ["workflow.refiner"]) == (job["request"]["workflow"], job["media"])


async def test_events_continue_where_the_client_was(server: Server) -> None:
    """Each event has an id; a client with the last one is told that there is nothing more, another one receives the end."""
    server.generations.pause = 0.05
    await server.http.post(PATH, json={**GOOD, "id": "a"})
    text = (await server.http.get(f"{PATH}/a/events")).text
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    last = json.loads(blocks[-1]["data"])
    again = await server.http.get(f"{PATH}/a/events", headers={"last-event-id": blocks[-1]["id"]})
    missed = await server.http.get(f"{PATH}/a/events", headers={"last-event-id": blocks[-2]["id"]})

    assert ("status", "completed") == (blocks[-1]["event"], last["status"])
    assert (200, text.strip().split("\n\n")[-1]) == (missed.status_code, missed.text.strip())
    assert "status" == blocks[0]["event"]
    numbers = [int(block["id"]) for block in blocks]
    assert numbers == sorted(numbers)
    assert 204 == again.status_code


async def test_previews_are_events(server: Server) -> None:
    """Whoever follows a job receives the previews that it asks for, as those of a stream; older ones are not kept."""
    await server.http.post(f"{PATH}/pause")
    await server.http.post(PATH, json={**GOOD, "id": "a", "previews": 2})
    following = asyncio.create_task(server.http.get(f"{PATH}/a/events"))
    log = server.queue._live.log(await server.queue.find("a"))
    await until(lambda: log.followed)
    await server.http.post(f"{PATH}/resume")
    text = (await asyncio.wait_for(following, 20)).text
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    previews = [(each["step"], each["preview"]) for each in events if "preview" in each]

    assert [1, 2] == [step for step, _ in previews]
    assert all(preview.startswith("data:image/png;base64,") for _, preview in previews)
    assert "completed" == events[-1]["status"]


async def test_a_queue_is_paused_and_changed(server: Server) -> None:
    """Jobs wait meanwhile, and their order can be changed."""
    assert {"paused": ["*"]} == (await server.http.post(f"{PATH}/pause")).json()
    for name in "abc":
        await server.http.post(PATH, json={**GOOD, "id": name})
    moved = await server.http.patch(f"{PATH}/c", json={"before": "a"})
    raised = await server.http.patch(f"{PATH}/b", json={"priority": 9})
    assert (0, 9) == (moved.json()["progress"]["position"], raised.json()["priority"])
    await server.http.post(f"{PATH}/resume", json={})
    await ended(server, "a")

    assert ["b", "c", "a"] == [request.id for request in server.generations.requests]
    error = (await server.http.patch(f"{PATH}/a", json={"position": "first"})).json()["error"]
    assert "invalid_job_state" == error["code"]


@pytest.mark.parametrize(
    ("settings", "key", "status"),
    [
        ({}, None, 200),
        ({"api_keys": "one"}, "one", 200),
        ({"admin_keys": "root"}, None, 403),
        ({"api_keys": "one", "admin_keys": "root"}, "one", 403),
        ({"api_keys": "one", "admin_keys": "root"}, "root", 200),
    ],
)
async def test_only_administrators_pause_the_jobs_of_all(
    settings: dict[str, str], key: str | None, status: int
) -> None:
    """A client is told in words that it may not; nothing is paused or resumed by it."""
    server = Server(**settings)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answers = [
        await server.http.post(f"{PATH}/{verb}", json=body, headers=headers)
        for body in ({"model": "demo"}, {})
        for verb in ("pause", "resume")
    ]

    assert [status] * 4 == [each.status_code for each in answers]
    if status != 200:
        error = answers[0].json()["error"]
        assert "forbidden" == error["code"]
        assert "Only an administrator may pause" in error["message"]
        assert [] == server.queue.controls.paused


async def test_an_alias_is_its_model(server: Server) -> None:
    """For a pause, a list, the order and what is deleted, whichever name the jobs and the request have."""
    server.models.infos.append(ModelInfo("other", "/secret/demo", alias_of="demo"))
    server.generations.known.add("other")
    paused = [(await server.http.post(f"{PATH}/pause", json={"model": name})).json() for name in ("other", "demo")]
    for name, model in (("a", "demo"), ("b", "other"), ("c", "demo")):
        await server.http.post(PATH, json={**GOOD, "id": name, "model": model})
    lists = [
        (await server.http.get(PATH, params={"model": name, "order": "asc"})).json()["data"]
        for name in ("other", "demo")
    ]
    assert [{"paused": ["demo"]}] * 2 == paused
    assert [[("a", 0), ("b", 1), ("c", 2)]] * 2 == [
        [(job["id"], job["progress"]["position"]) for job in each] for each in lists
    ]
    assert {"demo"} == {job["model"] for each in lists for job in each}
    assert [] == server.generations.requests
    assert {"paused": []} == (await server.http.post(f"{PATH}/resume", json={"model": "other"})).json()
    await ended(server, "c")

    assert ["a", "b", "c"] == [request.id for request in server.generations.requests]
    assert {"deleted": 3} == (await server.http.post(f"{PATH}/prune", json={"model": "other"})).json()


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("model", ["dmo", "*"])
async def test_an_unknown_model_is_not_paused(server: Server, verb: str, model: str) -> None:
    """The client is told that there is none; what was paused before it was removed can be resumed."""
    answer = await server.http.post(f"{PATH}/{verb}", json={"model": model})
    await server.http.post(f"{PATH}/pause", json={"model": "org/painter"})
    server.models.infos.pop()

    assert (404, "model_not_found") == (answer.status_code, answer.json()["error"]["code"])
    assert ["org/painter"] == server.queue.controls.paused
    assert {"paused": []} == (await server.http.post(f"{PATH}/resume", json={"model": "org/painter"})).json()


async def test_failures_are_kept_and_retried(server: Server) -> None:
    """A job says why it has failed; it can be retried once the reason is gone, and pruned."""
    server.generations.late = OutOfMemoryError("Too big.", hint="Smaller.", requested=5, free=1)
    await server.http.post(PATH, json={**GOOD, "id": "a"})
    failed = await ended(server, "a")
    server.generations.late = None
    await server.http.post(f"{PATH}/a/retry")
    done = await ended(server, "a")
    refused = await server.http.post(f"{PATH}/a/retry")
    pruned = await server.http.post(f"{PATH}/prune", json={"status": ["completed"]})

    assert ("failed", "out_of_memory", 5) == (
        failed["status"],
        failed["error"]["code"],
        failed["error"]["requested_bytes"],
    )
    assert ("completed", None) == (done["status"], done["error"])
    assert (409, "false") == (refused.status_code, refused.headers["x-should-retry"])
    assert {"deleted": 1} == pruned.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "parameter"),
    [
        ("POST", "", {**GOOD, "model": "nobody"}, 404, None),
        ("POST", "", {**GOOD, "priority": 101}, 400, "priority"),
        ("POST", "", {**GOOD, "webhook": "https://host/x"}, 400, "webhook"),
        ("POST", "", [GOOD, {**GOOD, "sed": 1}], 400, "sed"),
        ("POST", "", [], 400, "requests"),
        ("POST", "", {"requests": [GOOD], "sed": 1}, 400, "sed"),
        ("POST", "", 5, 400, None),
        ("POST", "/prune", {"status": ["queued"]}, 400, "status"),
        ("POST", "/pause", {"modl": "x"}, 400, "modl"),
        ("PATCH", "/x", {}, 400, None),
        ("PATCH", "/x", {"before": "a", "position": "first"}, 400, "before"),
        ("PATCH", "/x", {"priority": 1}, 404, "id"),
        ("GET", "/x", None, 404, "id"),
        ("GET", "/x/events", None, 404, "id"),
        ("POST", "/x/cancel", None, 404, "id"),
        ("POST", "/x/retry", None, 404, "id"),
        ("DELETE", "/x", None, 404, "id"),
        ("GET", "?status=done", None, 400, "status"),
        ("GET", "?after=x", None, 404, "id"),
    ],
)
async def test_bad_input(server: Server, method: str, path: str, body: Any, status: int, parameter: str | None) -> None:
    """What is wrong is answered with its name, and no job is left of it."""
    arguments = {} if body is None else {"json": body}
    answer: httpx.Response = await server.http.request(method, f"{PATH}{path}", **arguments)

    assert (status, parameter) == (answer.status_code, answer.json()["error"]["param"])
    assert [] == (await server.http.get(PATH)).json()["data"]


async def test_what_the_service_refuses_is_answered_at_once(server: Server) -> None:
    """A request is checked completely before it is accepted."""
    server.generations.error = MediaError("Bad.", parameter="output_format")
    answer = await server.http.post(PATH, json=GOOD)

    assert (400, "output.format") == (answer.status_code, answer.json()["error"]["param"])


async def test_fields_without_effect(server: Server) -> None:
    """They are warnings, on a job as on a request that a client waits for."""
    job = (
        await server.http.post(PATH, json={**GOOD, "id": "a", "stream": True, "output": {"response": "b64_json"}})
    ).json()
    result = (await ended(server, job["id"]))["result"]
    direct = (await server.http.post("/v1/generations", json={**GOOD, "priority": 1})).json()

    assert 2 == len([warning for warning in result["warnings"] if "background job" in warning])
    assert "'priority' has no effect without 'background'." in direct["warnings"]


async def test_jobs_belong_to_the_key_that_made_them() -> None:
    """Another key finds none of them, in any protocol; an admin key finds all, however its header is written."""
    server = Server(api_keys="one,two", admin_keys="root")
    mine, other = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
    await server.http.post(PATH, json={**GOOD, "id": "a"}, headers=mine)
    await server.http.get(f"{PATH}/a/events", headers=mine)
    await server.http.post("/v1/generations", json={**GOOD, "id": "b"}, headers=mine)

    async def statuses(headers: dict[str, str]) -> list[int]:
        paths = [f"{PATH}/a", f"{PATH}/a/events", "/v1/generations/a", "/v1/generations/b", "/v1/videos/a"]
        found = [await server.http.get(path, headers=headers) for path in paths]
        found += [await server.http.post(f"{PATH}/a/{verb}", headers=headers) for verb in ("cancel", "retry")]
        return [each.status_code for each in [*found, await server.http.delete(f"{PATH}/a", headers=headers)]]

    lists = [(await server.http.get(PATH, headers=each)).json() for each in (other, {"authorization": "bearer  root"})]
    pruned = (await server.http.post(f"{PATH}/prune", headers=other)).json()
    taken = await server.http.post(PATH, json={**GOOD, "id": "a"}, headers=other)

    assert [([], 0), (["a"], 1)] == [
        ([job["id"] for job in each["data"]], each["counts"]["completed"]) for each in lists
    ]
    assert ({"deleted": 0}, 400) == (pruned, taken.status_code)
    assert [404] * 8 == await statuses(other)
    assert [200, 200, 200, 200, 404, 200, 409, 200] == await statuses(mine)


async def test_without_keys_a_client_is_an_address() -> None:
    """No header evades the quota of an address, and users with the same placeholder of a key share none."""
    server = Server(job_quota=1)
    await server.http.post(f"{PATH}/pause")
    statuses = []
    for address, key in (("1.2.3.4", "a"), ("1.2.3.4", "b"), ("5.6.7.8", "a")):
        transport = httpx.ASGITransport(server.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            response = await client.post(PATH, json=GOOD, headers={"authorization": f"Bearer {key}"})
            statuses.append(response.status_code)

    assert [202, 429, 202] == statuses


async def test_a_result_that_had_to_go() -> None:
    """The job and the link say so, by a code of their own."""
    server = Server(max_job_bytes=1)
    links = []
    for name in ("a", "b"):
        await server.http.post(PATH, json={**GOOD, "id": name})
        links.append((await ended(server, name))["result"]["outputs"][0]["url"])
    await asyncio.sleep(0.1)
    gone, job = await server.http.get(links[0]), (await server.http.get(f"{PATH}/a")).json()

    assert (410, "result_expired") == (gone.status_code, gone.json()["error"]["code"])
    assert ("completed", None, "result_expired") == (job["status"], job["result"], job["error"]["code"])
    assert 200 == (await server.http.get(links[1])).status_code
    assert "octabox_job_result_bytes" in (await server.http.get("/metrics")).text


async def test_links_end_with_their_jobs(tmp_path: Path) -> None:
    """Also where all servers share a store, and after the file was sent: a job that was deleted, and one that had to go."""
    server = Server(max_job_bytes=1, file_store=str(tmp_path))
    links = []
    for name in ("a", "b", "c"):
        await server.http.post(PATH, json={**GOOD, "id": name})
        links.append((await ended(server, name))["result"]["outputs"][0]["url"])
        assert 200 == (await server.http.get(links[-1])).status_code
    await asyncio.sleep(0.1)
    await server.http.delete(f"{PATH}/c")

    assert [410, 410, 404] == [(await server.http.get(each)).status_code for each in links]


async def test_marks_of_outputs(server: Server) -> None:
    """A star and tags are kept with the job; what a change does not name stays, and a list shows them too."""
    await server.http.post(PATH, json={**GOOD, "id": "a"})
    before = (await ended(server, "a"))["result"]["outputs"][0]
    await server.http.patch(f"{PATH}/a/outputs/0", json={"star": True})
    changed = await server.http.patch(f"{PATH}/a/outputs/0", json={"tags": ["red", "good", "red"]})
    listed = (await server.http.get(PATH)).json()["data"][0]["result"]["outputs"][0]
    removed = await server.http.patch(f"{PATH}/a/outputs/0", json={"star": False, "tags": []})

    assert (False, []) == (before["star"], before["tags"])
    assert (True, ["red", "good"]) == (listed["star"], listed["tags"])
    assert listed == changed.json()["result"]["outputs"][0]
    assert before == removed.json()["result"]["outputs"][0]


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "words"),
    [
        ("a/outputs/1", {"star": True}, 404, "index", "Its outputs are 0."),
        ("a/outputs/-1", {"star": True}, 404, "index", "no output -1"),
        ("b/outputs/0", {"star": True}, 404, "id", "no job 'b'"),
        ("a/outputs/0", {}, 400, None, "'star', 'tags' or 'add_tags'"),
        ("a/outputs/0", {"stars": True}, 400, "stars", "star"),
        ("a/outputs/0", {"star": "yes please"}, 400, "star", "star"),
        ("a/outputs/0", {"tags": [""]}, 400, "tags", "tags"),
        ("a/outputs/0", {"tags": ["a" * 65]}, 400, "tags", "tags"),
        ("a/outputs/0", {"tags": ["a"] * 33}, 400, "tags", "tags"),
    ],
)
async def test_marks_that_cannot_be(
    server: Server, path: str, body: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    """An output that is not there and a wrong mark are errors that name what is wrong."""
    await server.http.post(PATH, json={**GOOD, "id": "a"})
    await ended(server, "a")
    answer = await server.http.patch(f"{PATH}/{path}", json=body)

    assert status == answer.status_code
    assert (answer.json()["error"]["param"] or "").startswith(param or "")
    assert words in answer.json()["error"]["message"]


async def outputs_of(server: Server, name: str) -> list[dict[str, Any]]:
    """Return the outputs of a job."""
    job = (await server.http.get(f"{PATH}/{name}")).json()
    outputs: list[dict[str, Any]] = job["result"]["outputs"]
    return outputs


async def test_many_outputs_are_marked_by_one_request(server: Server) -> None:
    """Those of several jobs; tags are added to the ones before, and what does not exist is listed."""
    for name in ("a", "b"):
        await server.http.post(PATH, json={**GOOD, "id": name, "num_outputs": 2})
        await ended(server, name)
    await server.http.patch(f"{PATH}/a/outputs/1", json={"tags": ["red"]})
    chosen = [{"id": "a", "index": 1}, {"id": "b", "index": 0}, {"id": "b", "index": 7}, {"id": "c", "index": 0}]
    body = {"outputs": chosen, "star": True, "add_tags": ["good", "red"]}
    answer = (await server.http.post(f"{PATH}/outputs/mark", json=body)).json()

    marks = [(each["star"], each["tags"]) for name in "ab" for each in await outputs_of(server, name)]
    assert [(False, []), (True, ["red", "good"]), (True, ["good", "red"]), (False, [])] == marks
    assert chosen[:2] == [{name: each[name] for name in ("id", "index")} for each in answer["data"]]
    assert chosen[2:] == answer["missing"]


async def test_outputs_are_deleted(server: Server) -> None:
    """The file of one goes, and the others of its job stay; with the last one the job goes."""
    await server.http.post(PATH, json={**GOOD, "id": "a", "num_outputs": 2})
    before = (await ended(server, "a"))["result"]["outputs"]
    first, second = ({"outputs": [{"id": "a", "index": index}]} for index in range(2))
    done = (await server.http.post(f"{PATH}/outputs/delete", json=first)).json()
    after = await outputs_of(server, "a")
    again = (await server.http.post(f"{PATH}/outputs/delete", json=first)).json()
    marked = await server.http.patch(f"{PATH}/a/outputs/0", json={"star": True})
    links = [(await server.http.get(each["url"])).status_code for each in before]

    assert ([{"id": "a", "index": 0, "star": False, "tags": [], "deleted": True}], []) == (
        done["data"],
        done["missing"],
    )
    assert (None, True) == (after[0]["url"], after[0]["deleted"])
    assert before[1] == after[1]
    assert ([], first["outputs"]) == (again["data"], again["missing"])
    assert (404, [404, 200]) == (marked.status_code, links)
    await server.http.post(f"{PATH}/outputs/delete", json=second)
    assert 404 == (await server.http.get(f"{PATH}/a")).status_code


async def test_outputs_of_others_are_missing() -> None:
    """Another key neither marks nor deletes them."""
    server = Server(api_keys="one,two")
    mine, other = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
    await server.http.post(PATH, json={**GOOD, "id": "a"}, headers=mine)
    await server.http.get(f"{PATH}/a/events", headers=mine)
    chosen = [{"id": "a", "index": 0}]
    for verb, fields in (("mark", {"star": True}), ("delete", {})):
        body = {"outputs": chosen, **fields}
        answer = (await server.http.post(f"{PATH}/outputs/{verb}", json=body, headers=other)).json()
        assert ([], chosen) == (answer["data"], answer["missing"])

    job = (await server.http.get(f"{PATH}/a", headers=mine)).json()
    assert not job["result"]["outputs"][0]["star"]


@pytest.mark.parametrize(
    ("verb", "body", "param"),
    [
        ("mark", {"star": True}, "outputs"),
        ("mark", {"outputs": [], "star": True}, "outputs"),
        ("mark", {"outputs": [{"id": "a", "index": 0}]}, None),
        ("mark", {"outputs": [{"id": "a"}], "star": True}, "outputs"),
        ("mark", {"outputs": [{"id": "a", "index": True}], "star": True}, "outputs"),
        ("delete", {"outputs": [{"id": "a", "index": 0}] * 1001}, "outputs"),
        ("delete", {"outputs": [{"id": "a", "index": 0}], "star": True}, "star"),
    ],
)
async def test_wrong_selections(server: Server, verb: str, body: dict[str, Any], param: str | None) -> None:
    """The error names the field."""
    answer = await server.http.post(f"{PATH}/outputs/{verb}", json=body)

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_too_many_tags(server: Server) -> None:
    """Tags that are added count with those before."""
    await server.http.post(PATH, json={**GOOD, "id": "a"})
    await ended(server, "a")
    await server.http.patch(f"{PATH}/a/outputs/0", json={"tags": [f"t{index}" for index in range(32)]})
    body = {"outputs": [{"id": "a", "index": 0}], "add_tags": ["more"]}
    answer = await server.http.post(f"{PATH}/outputs/mark", json=body)

    assert (400, "add_tags") == (answer.status_code, answer.json()["error"]["param"])
    assert "33 tags" in answer.json()["error"]["message"]
