"""The leader of a gang: it has its followers load and run what it loads and runs itself, and ends with any of them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from octabox.engine.messages import GANG_BROKEN, Memory, Start
from octabox.engine.protocol import Call
from octabox.engine.worker.gang.messages import Decision, Join, Outcome, ToFollower, describe_cause
from octabox.engine.worker.gang.process_group import find_devices, join_process_group
from octabox.errors import DeviceError, OctaboxError, OutOfMemoryError, WorkerDiedError
from octabox.security.temporary_folder import TemporaryFolder

logger = logging.getLogger("octabox.worker")

#: Seconds that the other processes of a gang have to fail as one of them has; then it is that one alone.
SETTLE_TIMEOUT = 10.0

T = TypeVar("T")


class Gang:
    """The followers of this worker, which run what it runs; without followers, only what it runs.

    Args:
        connections: The pipes to the followers.
        exit_process: Ends this process, with an exit code, where a follower has ended or will not do its part.
    """

    def __init__(
        self, connections: Sequence[Connection] = (), exit_process: Callable[[int], object] = os._exit
    ) -> None:
        self._connections, self._exit_process = connections, exit_process
        self._changed = threading.Condition()
        self._outcomes: dict[int, Outcome] = {}
        self._end: OctaboxError | None = None  # How a follower has ended.
        self._fail: Callable[[OctaboxError], None] = lambda _: None
        self._memory: dict[int, Memory] = {}
        self._working = 0  # Counts what was begun; negative once that has ended.
        #: The devices of all processes, the leader's first.
        self.devices: tuple[str, ...] = ()
        #: Whether the processes may not be at the same place any more, so that this one must end; the server learns of calls
        #: that another process has ended in by that, as where the worker itself ends.
        self.broken = False
        self._model = ""
        for rank, connection in enumerate(connections, 1):
            receive, name = partial(self._receive, rank, connection), f"pipe to follower {rank}"
            threading.Thread(target=receive, name=name, daemon=True).start()

    def __bool__(self) -> bool:
        return bool(self._connections)

    def load(self, start: Start, load: Callable[[Start], T], fail: Callable[[OctaboxError], None]) -> T:
        """Load a model in all processes.

        Args:
            start: What to load.
            load: Loads it in this process.
            fail: Reports in another thread why it is not loaded, where this process waits for one that will not do its part.

        Raises:
            LoadError: There are fewer devices, or it cannot be loaded in one of the processes.
            WorkerDiedError: One of them has ended.
        """
        if not self._connections:
            return load(start)
        model, self._model = start.model, start.model.name
        self.devices = find_devices(model, start.options.device)
        model = model.placed_on(*self.devices).model_copy(update={"memory": "full"})
        # Groups of some of the processes find each other later, in a call. The followers delete it, which end last.
        store = str(TemporaryFolder().path / "store")
        joins = [
            Join(replace(start, model=model.model_copy(update={"device": device})), rank, store)
            for rank, device in enumerate(self.devices)
        ]

        def join_and_load() -> T:
            join_process_group(joins[0].start, 0, store)
            return load(joins[0].start)

        return self._do(lambda rank: joins[rank], join_and_load, fail)

    def run(self, call: Call, run: Callable[[], T], fail: Callable[[OctaboxError], None]) -> T:
        """Run a call in all processes.

        Args:
            call: The call.
            run: Runs it in this process; between two steps it must call `decide`.
            fail: As that of `load`.

        Raises:
            OctaboxError: Another process has failed or ended, and this one is `broken`.
        """
        return self._do(lambda _: call, run, fail) if self._connections else run()

    def decide(self, *, cancelled: bool) -> bool:
        """Let the followers go on with the call, or end it; return whether it is to end."""
        self._send(lambda _: Decision(cancelled))
        return cancelled

    def memory(self, own: Memory) -> Memory:
        """Return the memory of all processes."""
        held = [own, *self._memory.values()]
        return replace(
            own,
            bytes=_add(each.bytes for each in held),
            allocated=_add(each.allocated for each in held),
            peak=_add(each.peak for each in held),
        )

    def _do(self, message: Callable[[int], ToFollower], do: Callable[[], T], fail: Callable[[OctaboxError], None]) -> T:
        """Do something in all processes, which the followers do for a message.

        Args:
            message: Returns the message for the follower of a rank.
            do: Does it in this process.
            fail: As that of `load`.
        """
        with self._changed:
            if self._end is not None:
                self.broken = True
                raise self._end
            self._outcomes.clear()
            self._working, self._fail = abs(self._working) + 1, fail
            number = self._working
        self._send(message)
        try:
            result = do()
        except Exception as error:
            self._settle(number, error)
            raise
        self._settle(number, None)
        return result

    def _settle(self, number: int, error: Exception | None) -> None:
        """Wait for the outcomes of the followers; they must be that of this process.

        Args:
            number: Number of what was done.
            error: Why it failed in this process; None if it did not.

        Raises:
            OctaboxError: Another process has failed or ended, which is why this one may have.
        """
        with self._changed:
            earlier = next((each for each in self._outcomes.values() if each.error), None)
            # Without an error they are waited for as long as the server does.
            self._changed.wait_for(self._is_settled, None if error is None else SETTLE_TIMEOUT)
            self._working = -number
            failed = [each for each in self._outcomes.values() if each.error]
            if error is None:
                self.broken, foreign = bool(failed), failed[0].error if failed else None
            else:
                self.broken = not self._is_same(error, failed)
                foreign = self._end or (earlier.error if earlier and self.broken else None)
        if foreign is not None:
            raise foreign from error

    def _is_settled(self) -> bool:
        """Return whether all followers are done, or one has ended."""
        return self._end is not None or len(self._outcomes) == len(self._connections)

    def _is_same(self, error: Exception, failed: Sequence[Outcome]) -> bool:
        """Return whether all processes have failed in the same way, and not for what each of them has itself."""
        own = any(isinstance(each.error, OutOfMemoryError | DeviceError) for each in failed)
        all_failed = len(failed) == len(self._connections)
        return all_failed and not own and {each.cause for each in failed} == {describe_cause(error)}

    def _receive(self, rank: int, connection: Connection) -> None:
        """Take the outcomes of a follower until it ends; runs in a thread."""
        try:
            while True:
                self._note(rank, connection.recv())
        except Exception as error:  # noqa: BLE001 (what cannot be read is as good as nothing)
            logger.debug("the pipe to follower %d has ended: %s", rank, error)
        message = f"Process {rank} of those that model '{self._model}' is split over has ended."
        self._note(rank, Outcome(WorkerDiedError(message, hint="See the log for the cause.", model=self._model)))

    def _note(self, rank: int, outcome: Outcome) -> None:
        """Take an outcome of a follower; where it has failed, this process gets some time to fail as well."""
        with self._changed:
            if outcome.error and not outcome.cause:
                self._end = self._end or outcome.error
            self._outcomes[rank] = outcome if self._end is None else Outcome(self._end)
            if not outcome.error:
                self._memory[rank] = outcome.memory
            working = self._working
            self._changed.notify_all()
        if outcome.error:
            # Between two calls only the end of a follower is reported, and there is nothing to wait for.
            timer = threading.Timer(SETTLE_TIMEOUT if working > 0 else 0.0, self._give_up, (working, outcome.error))
            timer.daemon = True
            timer.start()

    def _give_up(self, number: int, error: OctaboxError) -> None:
        """End this process, unless it has noticed by itself that another one has failed."""
        with self._changed:
            if self._working != number:
                return
        if number > 0 and error is not self._end:
            self._fail(error)
        logger.warning("%s", error)
        logging.shutdown()
        self._exit_process(GANG_BROKEN)

    def _send(self, message: Callable[[int], ToFollower]) -> None:
        """Send each follower a message; one that has ended is noticed by the thread that receives."""
        for rank, connection in enumerate(self._connections, 1):
            with contextlib.suppress(OSError):
                connection.send(message(rank))


def _add(amounts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of bytes by place."""
    total: Counter[str] = Counter()
    for each in amounts:
        total.update(each)
    return dict(total)
