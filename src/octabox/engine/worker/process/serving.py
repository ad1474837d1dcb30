"""Run a worker process: load a model, then run the calls that arrive over a pipe."""

from __future__ import annotations

import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from octabox.engine.messages import (
    DEVICE_BROKEN,
    Finished,
    Loaded,
    LoadFailed,
    RunFinished,
    RunStarted,
    StepDone,
)
from octabox.engine.protocol import Call
from octabox.engine.threads import default_threads
from octabox.engine.worker.failures import to_generation_error, to_load_error
from octabox.engine.worker.library_logging import configure_library_logging
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.placement.device import find_bad_fork
from octabox.engine.worker.placement.recovery import clean_up, clear_frames, is_usable
from octabox.engine.worker.process.pipe import Pipe
from octabox.engine.worker.trial import TrialRunner
from octabox.errors import DeviceError, GenerationCancelledError, OctaboxError, OutOfMemoryError
from octabox.telemetry.logs import configure
from octabox.types import Progress

logger = logging.getLogger("octabox.worker")


def serve(pipe: Pipe) -> None:
    """Load the model of the first message, then run calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = pipe.receive_start()
    configure(start.options.log_level, start.options.log_file)
    configure_library_logging()
    # A model on the CPU needs no accelerator, even if it was used before the fork.
    if (start.model.device or start.options.device) != "cpu" and (bad_fork := find_bad_fork()):
        pipe.send(bad_fork)
        return
    if threads := start.options.threads or default_threads():
        torch.set_num_threads(threads)
    began = time.perf_counter()
    try:
        loaded = load(start.model, start.pipeline, start.options, occupied=start.occupied)
    except Exception as error:  # noqa: BLE001 (a load may raise anything, and the server must get an error)
        pipe.send(LoadFailed(to_load_error(error, start.model)))
        return
    runner = TrialRunner(loaded, start)
    pipe.send(runner.modes.memory())
    report = loaded.performance.report
    pipe.send(Loaded(loaded.device, time.perf_counter() - began, loaded.warnings, report))
    del loaded  # The runner must hold the only reference, since it may have to release the model.
    with ThreadPoolExecutor(1, "encoder") as encoder:
        while _run_call(pipe.calls.get(), runner, pipe, encoder):
            pass
    # Outputs of earlier calls are encoded now. Torch's own exit may hang on a broken device.
    logger.info("The worker of model '%s' exits, since %s is not usable any more", start.model.name, runner.device)
    logging.shutdown()
    os._exit(DEVICE_BROKEN)


def _run_call(call: Call, runner: TrialRunner, pipe: Pipe, encoder: ThreadPoolExecutor) -> bool:
    """Run a call, encode its outputs in another thread, and restore the model after an error.

    Returns:
        Whether the worker can run another call, which it cannot if its device failed.
    """

    def send_progress(progress: Progress) -> None:
        pipe.send(StepDone(call.id, progress))

    def check() -> None:
        if call.id in pipe.cancelled:
            raise GenerationCancelledError("The request was cancelled.", model=call.model.name)

    pipe.send(RunStarted(call.id))
    failure: OctaboxError | None = None
    try:
        runner.note_state()
        output = runner.run(call, send_progress, check)
        pipe.send(runner.modes.memory())
        pipe.send(RunFinished(call.id))
        encoder.submit(_encode, call, output, pipe)
    except Exception as error:  # noqa: BLE001 (a pipeline may raise anything, and the server must get an error)
        failure = to_generation_error(error, call, runner.steps_taken, runner.device)
        clear_frames(error)
    pipe.cancelled.discard(call.id)
    # Only here, after the exception is deleted, nothing references the tensors of the failed call.
    return failure is None or _recover(call, failure, runner, pipe)


def _recover(call: Call, failure: OctaboxError, runner: TrialRunner, pipe: Pipe) -> bool:
    """Report a failed call and restore the model; return whether its device is still usable."""
    if isinstance(failure, DeviceError):
        # Sent first, since any use of a broken device may kill the process, which can run no other call.
        pipe.fail(call.id, failure)
        return False
    if isinstance(failure, OutOfMemoryError):
        runner.clear_prompt_cache()
    clean_up(runner.pipelines, runner.device, runner.state)
    pipe.send(runner.modes.memory())
    pipe.fail(call.id, failure)
    return is_usable(runner.device)


def _encode(call: Call, output: RawOutput, pipe: Pipe) -> None:
    """Encode a call's outputs and send them."""
    began = time.perf_counter()
    try:
        generation = output.encode()
        timings = {**generation.timings, "encode": time.perf_counter() - began}
        pipe.send(Finished(call.id, replace(generation, timings=timings)))
    except Exception as error:  # noqa: BLE001 (as above)
        pipe.fail(call.id, to_generation_error(error, call, steps_taken=1))
