"""A follower of a gang: it loads the model of the leader on its own device, and runs the same calls."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

from octabox.engine.protocol import Call
from octabox.engine.worker.failures import to_generation_error, to_load_error
from octabox.engine.worker.gang.messages import Decision, Join, Outcome, describe_cause
from octabox.engine.worker.gang.process_group import join_process_group
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.recovery import clean_up, clear_frames
from octabox.engine.worker.third_party_logs import configure_third_party_logs
from octabox.engine.worker.trial import ReportingRunner
from octabox.errors import GenerationCancelledError, GenerationError, OctaboxError, OutOfMemoryError
from octabox.telemetry.logs import configure
from octabox.types import Progress

logger = logging.getLogger("octabox.worker")


@dataclass(frozen=True)
class _OrderedCall:
    """A call, and what the leader decides between its steps."""

    call: Call
    decisions: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)

    def check(self) -> None:
        """Wait until the leader is as far as this process, and end the call if the leader does.

        Raises:
            GenerationCancelledError: It does.
        """
        if self.decisions.get():
            raise cancelled(self.call)


class LeaderPipe:
    """The follower's end of its pipe to the leader; the process ends with the pipe, also within a collective operation.

    Args:
        connection: The connection to the leader.
        exit_process: Ends this process with an exit code.
    """

    def __init__(self, connection: Connection, exit_process: Callable[[int], object] = os._exit) -> None:
        self._connection, self._exit_process = connection, exit_process
        self._joins: queue.SimpleQueue[Join] = queue.SimpleQueue()
        #: The calls to run.
        self.calls: queue.SimpleQueue[_OrderedCall] = queue.SimpleQueue()
        threading.Thread(target=self._receive, name="pipe to the leader", daemon=True).start()

    def receive_join(self) -> Join:
        """Wait for the first message."""
        return self._joins.get()

    def send(self, outcome: Outcome) -> None:
        """Send an outcome to the leader, or exit if it is gone."""
        try:
            self._connection.send(outcome)
        except OSError:
            self._exit_process(0)
        except Exception:
            logger.exception("An error of class %s cannot be sent", type(outcome.error).__name__)
            error = outcome.error or GenerationError(outcome.cause)
            self._connection.send(replace(outcome, error=GenerationError(str(error), model=error.model)))

    def _receive(self) -> None:
        ordered: _OrderedCall | None = None
        folder: Path | None = None
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, Join):
                    folder = Path(message.store).parent
                    self._joins.put(message)
                elif isinstance(message, Decision):
                    if ordered is not None:
                        ordered.decisions.put(message.cancelled)
                else:
                    ordered = _OrderedCall(message)
                    self.calls.put(ordered)
        except (EOFError, OSError):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            self._exit_process(0)
        except Exception:
            logger.exception("A message of the leader cannot be read")
            self._exit_process(1)


def serve(pipe: LeaderPipe) -> None:
    """Load the model of the first message, then run calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    join = pipe.receive_join()
    start = join.start
    configure(start.options.log_level, start.options.log_file)
    configure_third_party_logs()
    try:
        join_process_group(start, join.rank, join.store)
        runner = ReportingRunner(load(start.model, start.pipeline, start.options, occupied=start.occupied), start)
    except Exception as error:  # noqa: BLE001 (a load may raise anything, and the leader must get an outcome)
        pipe.send(Outcome(to_load_error(error, start.model), describe_cause(error)))
        pipe.calls.get()  # There is none: the process ends with the leader, which would take an earlier end for the cause.
        return
    pipe.send(Outcome(memory=runner.modes.memory()))
    while True:
        pipe.send(_run_call(pipe.calls.get(), runner))


def _run_call(ordered: _OrderedCall, runner: ReportingRunner) -> Outcome:
    """Run a call as the leader does, without its output, and restore the model after an error."""
    failure: OctaboxError | None = None
    cause = ""
    try:
        runner.note_state()
        runner.run(ordered.call, _ignore_progress, ordered.check)
    except Exception as error:  # noqa: BLE001 (a pipeline may raise anything, and the leader must get an outcome)
        failure, cause = (
            to_generation_error(error, ordered.call, runner.steps_taken, runner.device),
            describe_cause(error),
        )
        clear_frames(error)
    # Only here, after the exception is deleted, nothing references the tensors of the failed call.
    if failure is not None:
        if isinstance(failure, OutOfMemoryError):
            runner.clear_prompt_cache()
        clean_up(runner.pipelines, runner.device, runner.state)
    return Outcome(failure, cause, runner.modes.memory())


def _ignore_progress(_progress: Progress) -> None:
    """Report nothing, since the leader reports it."""


def cancelled(call: Call) -> GenerationCancelledError:
    """Return the error of a cancelled call."""
    return GenerationCancelledError("The request was cancelled.", model=call.model.name)
