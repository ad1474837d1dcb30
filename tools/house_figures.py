"""Print the figures of the house, so that a change of its structure can be compared with what was before.

    python tools/house_figures.py [--json]

- Files entered per request: the files of `octabox` of which a function runs while a plain `POST /v1/images/generations` is
  served, on the server and in the worker process: in the main thread (the event loop, the pipeline call), and in all threads.
  The model is the embedded one, already in memory, so that imports and the load are not counted; the worker is a real process.
- Async generators that an event climbs: those that yield more than one event while a stream is served, by API.
- The longest classes and files by lines, and the words of `tests/house/vocabulary.yaml` that are left in `src`.

It takes about half a minute, most of it for two loads of the embedded model.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx

from octabox import demo
from octabox.config.settings import Settings
from octabox.engine.messages import Finished, Loaded, RunCall, Start, WorkerOptions
from octabox.engine.protocol import Call
from octabox.engine.worker.entry import work
from octabox.server import app, build
from octabox.types import GenerationRequest
from vocabulary import count_refused, load_vocabulary

#: The code that is measured.
SOURCE = Path(__file__).parents[1] / "src" / "octabox"

#: A plain request: few steps, one image.
REQUEST = {"model": demo.NAME, "prompt": "a red circle on a white background", "num_inference_steps": 4, "seed": 1}

#: How often the request is sent: files that are not entered each time are those of tasks in the background.
REPEATS = 5

#: How many of the longest classes and files are shown.
LONGEST = 5

#: The name of the type that wraps what an async generator yields; what it awaits is not wrapped.
YIELDED = "async_generator_wrapped_value"


#: Files by thread.
Entered = dict[str, list[str]]


class Trace:
    """Records which files are entered and what async generators yield.

    Args:
        entered: Called with the file of each function that is called, and whether that is in the main thread.
    """

    def __init__(self, entered: Callable[[str, bool], None]) -> None:
        self.yields: Counter[CodeType] = Counter()
        self._entered = entered
        self._prefix = f"{SOURCE}/"

    def start(self) -> None:
        """Trace this thread and all that start later."""
        threading.setprofile(self)
        sys.setprofile(self)

    def stop(self) -> None:
        """Trace this thread no longer."""
        threading.setprofile(None)
        sys.setprofile(None)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        """Record an event of the interpreter."""
        code = frame.f_code
        if not code.co_filename.startswith(self._prefix) or code.co_name == "<module>":
            return
        if event == "call":
            self._entered(code.co_filename, threading.current_thread() is threading.main_thread())
        elif event == "return" and type(arg).__name__ == YIELDED:
            self.yields[code] += 1


def by_thread(entered: Iterable[tuple[str, bool]]) -> Entered:
    """Return files relative to the package, in order: those of the main thread, and the others."""
    entered = set(entered)
    main = {file for file, in_main in entered if in_main}
    others = {file for file, _ in entered} - main
    return {
        "main thread": sorted(str(Path(file).relative_to(SOURCE)) for file in main),
        "other threads": sorted(str(Path(file).relative_to(SOURCE)) for file in others),
    }


async def measure_server() -> tuple[Entered, dict[str, list[str]], Call]:
    """Return the files entered on the server, the async generators of each API's stream, and the call for the worker."""
    files: set[tuple[str, bool]] = set()
    trace = Trace(lambda file, main: files.add((file, main)))
    with tempfile.TemporaryDirectory() as models:
        parts = build(Settings.load({"models": models, "threads": 1, "log_level": "error"}))
        application = app(parts)
        async with application.router.lifespan_context(application):
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client:
                await _post(client, "/v1/images/generations", REQUEST)
                each_time = []
                for _ in range(REPEATS):
                    files.clear()
                    trace.start()
                    # Threads that exist already cannot be traced.
                    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
                    await _post(client, "/v1/images/generations", REQUEST)
                    trace.stop()
                    each_time.append(set(files))
                entered = by_thread(set.intersection(*each_time))
                generators = {
                    "openai": await _climbed(trace, client, "/v1/images/generations", {**REQUEST, "stream": True}),
                    "native": await _climbed(trace, client, "/v1/generations", _native()),
                }
            call = await parts.generation.prepare(_request())
    return entered, generators, call


def _native() -> dict[str, Any]:
    """Return the request as the native API takes it, to be streamed."""
    params = {name: value for name, value in REQUEST.items() if name not in ("model", "seed")}
    return {"model": REQUEST["model"], "seed": REQUEST["seed"], "params": params, "stream": True}


def _request() -> GenerationRequest:
    """Return the request as frontends hand it on."""
    params = {name: value for name, value in REQUEST.items() if name not in ("model", "seed")}
    return GenerationRequest(model=demo.NAME, params=params, seed=1)


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    answer = await client.post(path, json=body)
    answer.raise_for_status()


async def _climbed(trace: Trace, client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[str]:
    """Return the async generators that yield several events of a stream, the most events first."""
    trace.yields.clear()
    # Previews make events that no generator leaves out.
    trace.start()
    await _post(client, path, {**body, "partial_images": 3})
    trace.stop()
    return [
        f"{Path(code.co_filename).relative_to(SOURCE)}:{getattr(code, 'co_qualname', code.co_name)}"
        for code, count in trace.yields.most_common()
        if count > 1
    ]


def measure_worker(call: Call) -> Entered:
    """Return the files entered in a worker process while it makes a call, its load and its first call left out."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "entered.txt"
        process = context.Process(target=traced_work, args=(theirs, str(log)), daemon=True)
        process.start()
        theirs.close()
        ours.send(Start(call.model, call.pipeline, WorkerOptions(threads=1, log_level="error")))
        _wait_for(ours, Loaded)
        for _ in range(2):
            ours.send(RunCall(call))
            _wait_for(ours, Finished)
            if process.pid:
                os.kill(process.pid, signal.SIGUSR1)
        ours.close()
        process.join()
        lines = [line.split(" ", 1) for line in log.read_text(encoding="utf-8").splitlines()]
        return by_thread((file, main == "True") for main, file in lines)


def traced_work(connection: Connection, log: str) -> None:
    """Serve as a worker does; between the first signal and the second, write down each file that is entered."""
    seen: set[tuple[str, bool]] = set()
    with Path(log).open("w", encoding="utf-8", buffering=1) as lines:

        def entered(file: str, main: bool) -> None:
            if recording and (file, main) not in seen:
                seen.add((file, main))
                lines.write(f"{main} {file}\n")

        recording: list[bool] = []
        trace = Trace(entered)
        # The threads of a worker start before its first call has ended.
        threading.setprofile(trace)

        def toggle(*_: object) -> None:
            if recording:
                recording.clear()
                sys.setprofile(None)
            else:
                recording.append(True)
                sys.setprofile(trace)

        signal.signal(signal.SIGUSR1, toggle)
        work(connection)


def _wait_for(connection: Connection, kind: type) -> None:
    """Wait for a message of a class."""
    while not isinstance(message := connection.recv(), kind):
        if type(message).__name__ in ("Failed", "LoadFailed"):
            raise message.error


def longest_classes() -> list[tuple[int, str]]:
    """Return the lines of each class and its name, the longest first."""
    found = [
        (node.end_lineno - node.lineno + 1, f"{file.relative_to(SOURCE)}:{node.name}")
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None
    ]
    return sorted(found, reverse=True)


def longest_files() -> list[tuple[int, str]]:
    """Return the lines of each file and its name, the longest first."""
    files = SOURCE.rglob("*.py")
    return sorted(
        ((len(file.read_text(encoding="utf-8").splitlines()), str(file.relative_to(SOURCE))) for file in files),
        reverse=True,
    )


def measure() -> dict[str, Any]:
    """Return all figures."""
    server, generators, call = asyncio.run(measure_server())
    return {
        "server_files": server,
        "worker_files": measure_worker(call),
        "generators": generators,
        "classes": longest_classes()[:LONGEST],
        "files": longest_files()[:LONGEST],
        "refused_words": dict(count_refused(SOURCE, load_vocabulary().words)),
    }


def show(figures: dict[str, Any]) -> None:
    """Print figures for people."""
    for name in ("server_files", "worker_files"):
        for thread, files in figures[name].items():
            print(f"{name} of the {thread}: {len(files)}", *files, sep="\n  ")
    for api, generators in figures["generators"].items():
        print(f"generators of {api}: {len(generators)}", *generators, sep="\n  ")
    for name in ("classes", "files"):
        print(f"longest {name}:", *(f"{lines} {each}" for lines, each in figures[name]), sep="\n  ")
    words = figures["refused_words"]
    print(f"refused words: {sum(words.values())}", *(f"{count} {word}" for word, count in words.items()), sep="\n  ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the figures of the house.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    found = measure()
    if parser.parse_args().json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
