"""The leader's end of the pipes to the followers: what all of them do together, and which failures they have in common."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from octabox.engine.exit_codes import GANG_BROKEN
from octabox.engine.messages import Memory
from octabox.engine.worker.gang.messages import Outcome, ToFollower, describe_cause
from octabox.errors import DeviceError, OctaboxError, OutOfMemoryError, WorkerDiedError

logger = logging.getLogger("octabox.worker")

#: Seconds that the other processes of a gang have to fail as one of them has; then it is that one alone.
OUTCOME_TIMEOUT = 10.0

T = TypeVar("T")


class Followers:
    """The other processes of a gang. Where one of them fails or ends alone, this process cannot go on, either.

    Args:
        connections: The pipes to them, in the order of their ranks, which begin with 1.
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
        self._working = 0  # Counts what was begun; negative once that has ended.
        #: Name of the model, for errors.
        self.model = ""
        #: The memory of each, as it was reported last.
        self.memory: dict[int, Memory] = {}
        #: Whether the processes may not be at the same place any more, so that this one must end; the server learns of calls
        #: that another process has ended in by that, as where the worker itself ends.
        self.broken = False
        for rank, connection in enumerate(connections, 1):
            receive, name = partial(self._receive, rank, connection), f"pipe to follower {rank}"
            threading.Thread(target=receive, name=name, daemon=True).start()

    def __bool__(self) -> bool:
        return bool(self._connections)

    def send(self, message: Callable[[int], ToFollower]) -> None:
        """Send each follower the message for its rank; one that has ended is noticed by the thread that receives."""
        for rank, connection in enumerate(self._connections, 1):
            with contextlib.suppress(OSError):
                connection.send(message(rank))

    def do(self, message: Callable[[int], ToFollower], do: Callable[[], T], fail: Callable[[OctaboxError], None]) -> T:
        """Do something in all processes, which the followers do for a message.

        Args:
            message: Returns the message for the follower of a rank.
            do: Does it in this process.
            fail: Reports in another thread why it fails, where this process waits for one that will not do its part.

        Raises:
            OctaboxError: Another process has failed or ended, and this one is `broken`.
        """
        with self._changed:
            if self._end is not None:
                self.broken = True
                raise self._end
            self._outcomes.clear()
            self._working, self._fail = abs(self._working) + 1, fail
            number = self._working
        self.send(message)
        try:
            result = do()
        except Exception as error:
            self._compare(number, error)
            raise
        self._compare(number, None)
        return result

    def _compare(self, number: int, error: Exception | None) -> None:
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
            self._changed.wait_for(self._is_compared, None if error is None else OUTCOME_TIMEOUT)
            self._working = -number
            failed = [each for each in self._outcomes.values() if each.error]
            if error is None:
                self.broken, foreign = bool(failed), failed[0].error if failed else None
            else:
                self.broken = not self._is_same(error, failed)
                foreign = self._end or (earlier.error if earlier and self.broken else None)
        if foreign is not None:
            raise foreign from error

    def _is_compared(self) -> bool:
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
        message = f"Process {rank} of those that model '{self.model}' is split over has ended."
        self._note(rank, Outcome(WorkerDiedError(message, hint="See the log for the cause.", model=self.model)))

    def _note(self, rank: int, outcome: Outcome) -> None:
        """Take an outcome of a follower; where it has failed, this process gets some time to fail as well."""
        with self._changed:
            if outcome.error and not outcome.cause:
                self._end = self._end or outcome.error
            self._outcomes[rank] = outcome if self._end is None else Outcome(self._end)
            if not outcome.error:
                self.memory[rank] = outcome.memory
            working = self._working
            self._changed.notify_all()
        if outcome.error:
            # Between two calls only the end of a follower is reported, and there is nothing to wait for.
            timer = threading.Timer(OUTCOME_TIMEOUT if working > 0 else 0.0, self._give_up, (working, outcome.error))
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
