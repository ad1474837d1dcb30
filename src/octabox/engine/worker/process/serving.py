"""Run a worker process: load a model, then run the calls that arrive over a pipe."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

import torch

from octabox.engine.exit_codes import DEVICE_BROKEN, GANG_BROKEN
from octabox.engine.messages import (
    Finished,
    LoadFailed,
    LoadProgress,
    RunFinished,
    RunStarted,
    Sleep,
    Start,
    StepDone,
    WakeUp,
    WeightsMoved,
)
from octabox.engine.protocol import Call
from octabox.engine.threads import default_threads
from octabox.engine.worker.failures import to_generation_error, to_load_error
from octabox.engine.worker.gang.leader import Gang
from octabox.engine.worker.gang.runner import GangRunner
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.placement.device import find_bad_fork
from octabox.engine.worker.placement.recovery import clean_up, clear_frames, is_usable
from octabox.engine.worker.process.encoder import Encoder
from octabox.engine.worker.process.first_call import compile_by_call
from octabox.engine.worker.process.pipe import Pipe
from octabox.engine.worker.third_party_logs import configure_third_party_logs
from octabox.engine.worker.trial import ReportingRunner
from octabox.errors import DeviceError, GenerationCancelledError, OctaboxError, OutOfMemoryError, WorkerDiedError
from octabox.telemetry.logs import configure
from octabox.types import Progress

logger = logging.getLogger("octabox.worker")


def serve(pipe: Pipe, followers: Sequence[Connection] = ()) -> None:
    """Load the model of the first message, then run calls until the pipe closes.

    Args:
        pipe: The pipe to the server.
        followers: The pipes to the other processes that the model is split over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = pipe.receive_start()
    configure(start.options.log_level, start.options.log_file)
    configure_third_party_logs()
    # A model on the CPU needs no accelerator, even if it was used before the fork.
    if (start.model.device or start.options.device) != "cpu" and (bad_fork := find_bad_fork()):
        pipe.send(bad_fork)
        return
    if threads := start.options.threads or default_threads():
        torch.set_num_threads(threads)
    began = time.perf_counter()
    gang = Gang(followers)
    try:
        runner = gang.load(start, partial(_load, gang, pipe), lambda error: pipe.send(LoadFailed(error)))
    except Exception as error:  # noqa: BLE001 (a load may raise anything, and the server must get an error)
        pipe.send(LoadFailed(to_load_error(error, start.model)))
        return
    try:
        compile_by_call(runner, lambda progress: pipe.send(LoadProgress(progress)))
    except Exception as error:  # noqa: BLE001 (the device has failed)
        pipe.send(LoadFailed(to_load_error(error, start.model)))
        return
    pipe.send(runner.memory())
    pipe.send(runner.describe(time.perf_counter() - began))
    _send_report(runner, pipe)
    with closing(Encoder()) as encoder:
        while _run_calls(pipe.calls.get(), runner, pipe, encoder):
            pass
    # Outputs of earlier calls are encoded now. Torch's own exit may hang on a broken device.
    cause = "another process of it has failed" if runner.broken else f"{runner.device} is not usable any more"
    logger.info("The worker of model '%s' exits, since %s", start.model.name, cause)
    logging.shutdown()
    os._exit(GANG_BROKEN if runner.broken else DEVICE_BROKEN)


def _load(gang: Gang, pipe: Pipe, start: Start) -> ReportingRunner:
    """Load a model, and return what runs its calls, which holds the only reference, since it may have to release the model."""
    loaded = load(start.model, start.pipeline, start.options, occupied=start.occupied, makes_room=start.makes_room)
    return GangRunner(loaded, start, gang, pipe.fail) if gang else ReportingRunner(loaded, start)


def _run_calls(calls: Sequence[Call] | Sleep | WakeUp, runner: ReportingRunner, pipe: Pipe, encoder: Encoder) -> bool:
    """Run calls, in batches where they may share one, or move the weights; return whether the worker can run others."""
    if isinstance(calls, Sleep | WakeUp):
        return _move_weights(calls, runner, pipe)
    if runner.may_batch(calls):
        left = _run_batches(calls, runner, pipe, encoder)
        if left is None:
            return False
        calls = left
    return all(_run_call(call, runner, pipe, encoder) for call in calls)


def _move_weights(message: Sleep | WakeUp, runner: ReportingRunner, pipe: Pipe) -> bool:
    """Move the weights to the host or back, and report that; return whether the device is still usable."""
    failure: OctaboxError | None = None
    try:
        runner.move_weights(message)
    except Exception as error:  # noqa: BLE001 (a device may raise anything)
        failure = to_load_error(error, runner.start.model)
        clear_frames(error)
    pipe.send(runner.memory())
    pipe.send(WeightsMoved(failure, message.number))
    return is_usable(runner.device)


class _BatchEvents:
    """Sends the events of the calls of a batch to the server."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._dropped = pipe, set[str]()

    def start(self, call: Call, members: int) -> None:
        """Report that a call starts in a batch of so many members."""
        self._pipe.send(RunStarted(call.id, members))

    def publish(self, call: Call, progress: Progress) -> None:
        """Send the progress of a call."""
        self._pipe.send(StepDone(call.id, progress))

    def is_cancelled(self, call: Call) -> bool:
        """Return whether a call is to end."""
        return call.id in self._dropped or call.id in self._pipe.cancelled

    def drop(self, call: Call) -> None:
        """Report that a call was cancelled, once."""
        if call.id in self._dropped:
            return
        self._dropped.add(call.id)
        self._pipe.fail(call.id, GenerationCancelledError("The request was cancelled.", model=call.model.name))


def _run_batches(calls: Sequence[Call], runner: ReportingRunner, pipe: Pipe, encoder: Encoder) -> Sequence[Call] | None:
    """Run calls in batches, and encode their outputs in another thread.

    Returns:
        The calls that are still to run, each alone, since a batch has failed; None if the device has.
    """
    left, events = {call.id: call for call in calls}, _BatchEvents(pipe)
    failure: OctaboxError | None = None
    try:
        runner.note_state()
        for output in runner.batches.run(calls, events):
            del left[output.call.id]
            pipe.forget(output.call.id)
            pipe.send(runner.memory())
            _send_report(runner, pipe)
            encoder.wait()  # The server sends no further call meanwhile, so that its queue grows instead of this process.
            pipe.send(RunFinished(output.call.id))
            encoder.submit(_encode, output.call, output, pipe)
    except Exception as error:  # noqa: BLE001 (a pipeline may raise anything)
        failure = to_generation_error(error, calls[0], runner.steps_taken, runner.device)
        clear_frames(error)
    for call in filter(events.is_cancelled, [*left.values()]):
        events.drop(left.pop(call.id))
    return [] if failure is None else _recover_batch([*left.values()], failure, runner, pipe)


def _recover_batch(
    left: list[Call], failure: OctaboxError, runner: ReportingRunner, pipe: Pipe
) -> Sequence[Call] | None:
    """Restore the model after a failed batch.

    Args:
        left: The calls that have no output.
        failure: Why it failed.
        runner: Runs the calls.
        pipe: The pipe to the server.

    Returns:
        The calls that are still to run, each alone; None if the device has failed.
    """
    alone = runner.batches.alone if runner.batches.alone in left else None
    if isinstance(failure, DeviceError):
        # Sent first, since any use of a broken device may kill the process. The server runs the others in another one.
        logger.error("The device of %s has failed in a batch: %s", left[0].model.name if left else "a model", failure)
        _fail_alone(alone, failure, pipe)
        return None
    if left and not isinstance(failure, GenerationCancelledError):
        logger.info("A batch of %s has failed, and its calls run singly: %s", left[0].model.name, failure)
        runner.batches.add_failure(failure)
    _clean_up(failure, runner, pipe)
    usable = is_usable(runner.device)
    if alone and (isinstance(failure, OutOfMemoryError) or not usable):
        # It has run alone, and again where another memory mode needs less.
        left.remove(alone)
        _fail_alone(alone, failure, pipe)
    return left if usable else None


def _fail_alone(call: Call | None, failure: OctaboxError, pipe: Pipe) -> None:
    """Report the failure of a call that shared it with no other, if there is one."""
    if call:
        pipe.fail(call.id, failure)


def _send_report(runner: ReportingRunner, pipe: Pipe) -> None:
    """Send how many runs may run together, if that has changed."""
    if report := runner.take_report():
        pipe.send(report)


def _clean_up(failure: OctaboxError, runner: ReportingRunner, pipe: Pipe) -> None:
    """Restore the model after a failed call or batch."""
    if isinstance(failure, OutOfMemoryError):
        runner.clear_prompt_cache()
    clean_up(runner.pipelines, runner.device, runner.state)
    pipe.send(runner.memory())


def _run_call(call: Call, runner: ReportingRunner, pipe: Pipe, encoder: Encoder) -> bool:
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
        pipe.forget(call.id)
        pipe.send(runner.memory())
        _send_report(runner, pipe)
        encoder.wait()
        pipe.send(RunFinished(call.id))
        encoder.submit(_encode, call, output, pipe)
    except Exception as error:  # noqa: BLE001 (a pipeline may raise anything, and the server must get an error)
        failure = to_generation_error(error, call, runner.steps_taken, runner.device)
        clear_frames(error)
    # Only here, after the exception is deleted, nothing references the tensors of the failed call.
    return failure is None or _recover(call, failure, runner, pipe)


def _recover(call: Call, failure: OctaboxError, runner: ReportingRunner, pipe: Pipe) -> bool:
    """Report a failed call and restore the model; return whether its device is still usable."""
    if runner.broken and isinstance(failure, WorkerDiedError):
        return False  # The server runs the call again, as where this process itself has ended.
    if isinstance(failure, DeviceError) or runner.broken:
        # Sent first, since any use of a broken device may kill the process, which can run no other call.
        pipe.fail(call.id, failure)
        return False
    _clean_up(failure, runner, pipe)
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
