"""A worker process from birth to end: it loads its model, then makes the calls that come over its pipe."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection

import torch
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers.utils import logging as transformers_logging

from octabox.engine.messages import (
    Began,
    CancelCall,
    Failed,
    Finished,
    FromWorker,
    Loaded,
    LoadFailed,
    Memory,
    Progressed,
    Ran,
    RunCall,
    Start,
)
from octabox.engine.protocol import Call
from octabox.engine.worker.failures import as_generation_error, as_load_error
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.process_memory import bytes_held, clean_up
from octabox.engine.worker.runner import Runner, Unfinished
from octabox.errors import GenerationCancelledError
from octabox.telemetry.logs import configure
from octabox.types import Progress

logger = logging.getLogger("octabox.worker")


class Pipe:
    """A worker's end of its pipe: any thread may send, one thread listens."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._writing = connection, threading.Lock()
        self.calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self.cancelled: set[str] = set()

    def send(self, message: FromWorker) -> None:
        """Send a message to the server; without one there is nothing left to do."""
        try:
            with self._writing:
                self._connection.send(message)
        except OSError:
            os._exit(0)

    def receive_start(self) -> Start:
        """Wait for the first message, and listen for the next ones in the background."""
        start = self._connection.recv()
        assert isinstance(start, Start)  # noqa: S101 (the server's first word is always this)
        threading.Thread(target=self._listen, name="pipe", daemon=True).start()
        return start

    def _listen(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, RunCall):
                    self.calls.put(message.call)
                elif isinstance(message, CancelCall):
                    self.cancelled.add(message.id)
        except (EOFError, OSError):
            os._exit(0)  # The server is gone, or has closed the pipe; a call that runs is of no use to anyone.
        except Exception:
            # Whoever sent it waits for an answer that would never come.
            logger.exception("A message of the server cannot be read")
            os._exit(1)


def serve(connection: Connection) -> None:
    """Load the model that the first message names, then make calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Pipe(connection)
    start = pipe.receive_start()
    configure(start.options.log_level, start.options.log_file)
    hush()
    if start.options.threads:
        torch.set_num_threads(start.options.threads)
    began = time.perf_counter()
    try:
        loaded = load(start.model, start.pipeline, start.options)
    except Exception as error:  # noqa: BLE001 (whatever a load may raise, the server must hear of it)
        pipe.send(LoadFailed(as_load_error(error, start.model)))
        return
    runner = Runner(loaded)
    pipe.send(Memory(bytes_held()))
    report = loaded.performance.report
    pipe.send(Loaded(loaded.device, time.perf_counter() - began, loaded.warnings, report))
    with ThreadPoolExecutor(1, "encoder") as encoder:
        while True:
            _make(pipe.calls.get(), runner, pipe, encoder)


def hush() -> None:
    """Let the libraries draw no bars, and warn again of what concerns a request."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_warning()
    disable_progress_bars()


def _make(call: Call, runner: Runner, pipe: Pipe, encoder: ThreadPoolExecutor) -> None:
    """Make a call and leave its encoding to another thread; after any failure the model is as clean as before."""

    def tell(progress: Progress) -> None:
        pipe.send(Progressed(call.id, progress))

    def check() -> None:
        if call.id in pipe.cancelled:
            raise GenerationCancelledError("The request was cancelled.", model=call.model.name)

    pipe.send(Began(call.id))
    try:
        unfinished = runner.run(call, tell, check)
    except Exception as error:  # noqa: BLE001 (whatever a pipeline may raise, the server must hear of it)
        clean_up(runner.pipelines)
        pipe.send(Memory(bytes_held()))
        pipe.send(Failed(call.id, as_generation_error(error, call, runner.steps_taken)))
    else:
        pipe.send(Memory(bytes_held()))
        pipe.send(Ran(call.id))
        encoder.submit(_encode, call, unfinished, pipe)
    finally:
        pipe.cancelled.discard(call.id)


def _encode(call: Call, unfinished: Unfinished, pipe: Pipe) -> None:
    """Encode a call's outputs and send them."""
    began = time.perf_counter()
    try:
        generation = unfinished.encode()
        timings = {**generation.timings, "encode": time.perf_counter() - began}
        pipe.send(Finished(call.id, replace(generation, timings=timings)))
    except Exception as error:  # noqa: BLE001 (as above)
        pipe.send(Failed(call.id, as_generation_error(error, call, steps_taken=1)))
