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

from octabox.engine.messages import (
    DEVICE_BROKEN,
    Alive,
    CancelCall,
    Failed,
    Finished,
    FromWorker,
    Loaded,
    LoadFailed,
    Ping,
    RunCall,
    RunFinished,
    RunStarted,
    Start,
    StepDone,
)
from octabox.engine.protocol import Call
from octabox.engine.threads import default_threads
from octabox.engine.worker.failures import as_generation_error, as_load_error
from octabox.engine.worker.library_logging import configure_library_logging
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.device import find_bad_fork
from octabox.engine.worker.placement.process_memory import measure_memory
from octabox.engine.worker.placement.recovery import clean_up, clear_frames, is_usable
from octabox.engine.worker.runner import RawOutput
from octabox.engine.worker.trial import TrialRunner
from octabox.errors import DeviceError, GenerationCancelledError, GenerationError, OctaboxError, OutOfMemoryError
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

    def fail(self, call_id: str, error: OctaboxError) -> None:
        """Send the error of a call; where it holds what cannot be sent, its words alone."""
        try:
            self.send(Failed(call_id, error))
        except Exception:
            logger.exception("An error of class %s cannot be sent", type(error).__name__)
            self.send(Failed(call_id, GenerationError(str(error), model=error.model)))

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
                elif isinstance(message, Ping):
                    self.send(Alive())
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
    configure_library_logging()
    # A model that runs on the processor needs no accelerator, whatever became of that before the fork.
    if (start.model.device or start.options.device) != "cpu" and (bad_fork := find_bad_fork()):
        pipe.send(bad_fork)
        return
    if threads := start.options.threads or default_threads():
        torch.set_num_threads(threads)
    began = time.perf_counter()
    try:
        loaded = load(start.model, start.pipeline, start.options)
    except Exception as error:  # noqa: BLE001 (whatever a load may raise, the server must hear of it)
        pipe.send(LoadFailed(as_load_error(error, start.model)))
        return
    runner = TrialRunner(loaded, start)
    pipe.send(measure_memory(runner.device))
    report = loaded.performance.report
    pipe.send(Loaded(loaded.device, time.perf_counter() - began, loaded.warnings, report))
    del loaded  # The runner alone holds the model, and may have to give it up.
    with ThreadPoolExecutor(1, "encoder") as encoder:
        while _make(pipe.calls.get(), runner, pipe, encoder):
            pass
    # Outputs of earlier calls are encoded now. What torch does at the end of a process may never end on a broken device.
    logger.info("The worker of model '%s' ends, since %s cannot be used any more", start.model.name, runner.device)
    logging.shutdown()
    os._exit(DEVICE_BROKEN)


def _make(call: Call, runner: TrialRunner, pipe: Pipe, encoder: ThreadPoolExecutor) -> bool:
    """Make a call and leave its encoding to another thread; after any failure the model is as it was before.

    Returns:
        Whether the worker can make another call; not where its device failed.
    """

    def tell(progress: Progress) -> None:
        pipe.send(StepDone(call.id, progress))

    def check() -> None:
        if call.id in pipe.cancelled:
            raise GenerationCancelledError("The request was cancelled.", model=call.model.name)

    pipe.send(RunStarted(call.id))
    failure: OctaboxError | None = None
    try:
        runner.note_state()
        unfinished = runner.run(call, tell, check)
        pipe.send(measure_memory(runner.device))
        pipe.send(RunFinished(call.id))
        encoder.submit(_encode, call, unfinished, pipe)
    except Exception as error:  # noqa: BLE001 (whatever a pipeline may raise, the server must hear of it)
        failure = as_generation_error(error, call, runner.steps_taken, runner.device)
        clear_frames(error)
    pipe.cancelled.discard(call.id)
    # Only here, where the exception is gone, nothing holds the tensors of the failed call any more.
    return failure is None or _recover(call, failure, runner, pipe)


def _recover(call: Call, failure: OctaboxError, runner: TrialRunner, pipe: Pipe) -> bool:
    """Report a failed call and put the model in order; return whether its device can still be used."""
    if isinstance(failure, DeviceError):
        # First, since any use of a broken device may end the process. No later call can trust this process.
        pipe.fail(call.id, failure)
        return False
    if isinstance(failure, OutOfMemoryError):
        runner.forget_prompts()
    clean_up(runner.pipelines, runner.device, runner.state)
    pipe.send(measure_memory(runner.device))
    pipe.fail(call.id, failure)
    return is_usable(runner.device)


def _encode(call: Call, unfinished: RawOutput, pipe: Pipe) -> None:
    """Encode a call's outputs and send them."""
    began = time.perf_counter()
    try:
        generation = unfinished.encode()
        timings = {**generation.timings, "encode": time.perf_counter() - began}
        pipe.send(Finished(call.id, replace(generation, timings=timings)))
    except Exception as error:  # noqa: BLE001 (as above)
        pipe.fail(call.id, as_generation_error(error, call, steps_taken=1))
