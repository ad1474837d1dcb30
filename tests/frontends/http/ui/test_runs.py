"""The jobs of the page: how they are submitted, cancelled and followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_scripts import copy_scripts, run

#: Text settings of a node without a browser.
BROWSER = "globalThis.document = { baseURI: 'http://localhost/', addEventListener() {} };\n"

#: Timers that are a hundred times as fast.
FAST = """
const { setTimeout: real } = globalThis;
globalThis.setTimeout = (call, pause) => real(call, pause / 100);
const sleep = (seconds) => new Promise((resolve) => real(resolve, seconds * 10));
"""

#: A server whose job has a stream of events, which ends when it is aborted.
STREAMS = """
const streams = [];
const stream = (signal, headers) => {
  const found = { headers, aborted: false };
  const body = new ReadableStream({ start(controller) {
    const encoder = new TextEncoder();
    found.send = (text) => controller.enqueue(encoder.encode(text));
    signal.addEventListener("abort", () => { found.aborted = true; controller.error(new DOMException("", "AbortError")); });
  } });
  streams.push(found);
  return new Response(body);
};
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def test_large_requests_are_sent_in_parts(scripts: Path) -> None:
    """Requests with files go in several batches, in their order."""
    code = (
        BROWSER
        + """
    const { batches } = await import('./js/runs.js');
    const image = "x".repeat(7_000_000);
    const sent = [1, 2, 3, 4, 5].map((id) => ({ body: { id, image } }));
    console.log(JSON.stringify([...batches(sent)].map((part) => part.map((each) => each.body.id))));"""
    )

    assert [[1, 2], [3, 4], [5]] == run(scripts, code)


def test_requests_that_are_withdrawn_are_not_sent(scripts: Path) -> None:
    """What is on its way is cancelled once the server has it, and what is to follow stays here."""
    code = (
        BROWSER
        + """
    const { runs } = await import('./js/runs.js');
    const { Run } = await import('./js/run.js');
    const made = [1, 2, 3].map((id) => new Run({ model: "m", id, image: "x".repeat(9_000_000) }));
    const asked = [];
    globalThis.localStorage = { getItem: () => null };
    globalThis.fetch = async (url, { method }) => {
      asked.push(`${method} ${new URL(url, "http://x").pathname}`);
      if (asked.length === 1) runs.cancel(...made);
      const status = String(url).includes("cancel") ? "cancelled" : "queued";
      return Response.json({ id: "a", status });
    };
    runs.plan = () => {};
    await runs.submit(...made);
    console.log(JSON.stringify([asked, made.map((each) => each.state)]));"""
    )

    assert [["POST /v1/jobs", "POST /v1/jobs/a/cancel"], ["cancelled"] * 3] == run(scripts, code)


def test_a_request_is_cancelled_while_it_is_sent(scripts: Path) -> None:
    """It ends for the person at once, and is cancelled on the server as soon as that has it."""
    code = (
        BROWSER
        + """
    const { runs } = await import('./js/runs.js');
    const { Run } = await import('./js/run.js');
    const run = new Run({ model: "m" });
    const [asked, states] = [[], []];
    globalThis.fetch = async (url, { method }) => {
      asked.push(`${method} ${new URL(url).pathname}`);
      if (asked.length === 1) {
        await runs.cancel(run);
        states.push(run.state);
      }
      return Response.json({ id: "a", status: String(url).includes("cancel") ? "cancelled" : "queued" });
    };
    runs.plan = () => {};
    await runs.submit(run);
    states.push(run.state);
    await runs.cancel(run);
    console.log(JSON.stringify([asked, states]));"""
    )

    assert [["POST /v1/jobs", "POST /v1/jobs/a/cancel"], ["cancelled", "cancelled"]] == run(scripts, code)


def test_a_silent_connection_is_made_again(scripts: Path) -> None:
    """Comments are signs of life; without one for 40 seconds the events are asked for again, from the last one on."""
    code = (
        BROWSER
        + FAST
        + STREAMS
        + """
    const { Run } = await import('./js/run.js');
    globalThis.fetch = async (url, { signal, headers }) => stream(signal, headers);
    const run = Object.assign(new Run({ model: "m" }), { id: "a" });
    const followed = run.follow();
    await sleep(1);
    streams[0].send('id: 7\\nevent: progress\\ndata: {"phase": "running", "step": 1}\\n\\n');
    for (let each = 0; each < 6; each++) {
      await sleep(15);
      streams[0].send(": keep-alive\\n\\n");
    }
    const alive = [streams.length, run.progress.step];
    await sleep(60);
    const again = [streams.length, streams[0].aborted, streams[1].headers["last-event-id"]];
    streams[1].send('id: 8\\nevent: status\\ndata: {"id": "a", "status": "completed"}\\n\\n');
    await run.end();
    console.log(JSON.stringify([alive, again, run.state]));
    process.exit();"""
    )

    assert [[1, 1], [2, True, "7"], "completed"] == run(scripts, code)


def test_a_look_at_the_jobs_updates_a_job_whose_events_do_not_arrive(scripts: Path) -> None:
    """One whose events arrive is left to them; after a network was lost and found, the connection is made again."""
    code = (
        BROWSER
        + STREAMS
        + """
    let now = 1000;
    performance.now = () => now;
    const pause = (seconds) => new Promise((resolve) => { now += seconds * 1000; setTimeout(resolve, 20); });
    const { runs } = await import('./js/runs.js');
    const { Run } = await import('./js/run.js');
    const job = { id: "a", status: "in_progress", progress: { phase: "running", step: 5 } };
    globalThis.fetch = async (url, { signal, headers }) =>
      String(url).includes("events") ? stream(signal, headers) : Response.json({ data: [job] });
    runs.plan = () => {};
    const run = Object.assign(new Run({ model: "m" }), { id: "a", state: "in_progress" });
    runs.list = [run];
    runs.show(run);
    await pause(1);
    streams[0].send('event: progress\\ndata: {"phase": "running", "step": 1}\\n\\n');
    await pause(5);
    await runs.look();
    const steps = [run.progress.step];
    await pause(25);
    await runs.look();
    steps.push(run.progress.step);
    await runs.reconnect();
    await pause(1);
    console.log(JSON.stringify([steps, streams.map((each) => each.aborted)]));
    process.exit();"""
    )

    assert [[1, 5], [True, False]] == run(scripts, code)
