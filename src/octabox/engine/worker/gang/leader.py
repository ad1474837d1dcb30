"""The leader of a gang: it has its followers load and run what it loads and runs itself, and ends with any of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TypeVar

from octabox.engine.messages import Memory, Start
from octabox.engine.protocol import Call
from octabox.engine.worker.gang.followers import Followers
from octabox.engine.worker.gang.messages import Decision, Join
from octabox.engine.worker.gang.process_group import find_devices, join_process_group
from octabox.errors import OctaboxError
from octabox.security.temporary_folder import TemporaryFolder

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
        self._followers = Followers(connections, exit_process)
        #: The devices of all processes, the leader's first.
        self.devices: tuple[str, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether another process has failed or ended alone, so that this one must end."""
        return self._followers.broken

    def __bool__(self) -> bool:
        return bool(self._followers)

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
        if not self._followers:
            return load(start)
        model, self._followers.model = start.model, start.model.name
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

        return self._followers.do(lambda rank: joins[rank], join_and_load, fail)

    def run(self, call: Call, run: Callable[[], T], fail: Callable[[OctaboxError], None]) -> T:
        """Run a call in all processes.

        Args:
            call: The call.
            run: Runs it in this process; between two steps it must call `decide`.
            fail: As that of `load`.

        Raises:
            OctaboxError: Another process has failed or ended, and this one is `broken`.
        """
        return self._followers.do(lambda _: call, run, fail) if self._followers else run()

    def decide(self, *, cancelled: bool) -> bool:
        """Let the followers go on with the call, or end it; return whether it is to end."""
        self._followers.send(lambda _: Decision(cancelled))
        return cancelled

    def memory(self, own: Memory) -> Memory:
        """Return the memory of all processes."""
        held = [own, *self._followers.memory.values()]
        return replace(
            own,
            bytes=_add(each.bytes for each in held),
            allocated=_add(each.allocated for each in held),
            peak=_add(each.peak for each in held),
        )


def _add(amounts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of bytes by place."""
    total: Counter[str] = Counter()
    for each in amounts:
        total.update(each)
    return dict(total)
