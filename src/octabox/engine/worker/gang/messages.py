"""The messages between the leader of a gang, which is the worker that the server knows, and its followers."""

from __future__ import annotations

from dataclasses import dataclass, field

from octabox.engine.messages import Memory, Start
from octabox.engine.protocol import Call
from octabox.errors import OctaboxError


@dataclass(frozen=True)
class Join:
    """To a follower: join the process group, and load the model.

    Args:
        start: What the leader loads, with the device of the follower.
        rank: Its number in the group; the leader's is 0.
        store: File by which the processes find each other.
    """

    start: Start
    rank: int
    store: str


@dataclass(frozen=True)
class Decision:
    """To a follower that waits for it between two steps: whether the call is cancelled."""

    cancelled: bool


@dataclass(frozen=True)
class Outcome:
    """From a follower, after a load and after each call.

    Args:
        error: Why it failed; None if it did not.
        cause: Class and message of the exception that the error stands for, which all processes have in common if it is
            the call that fails, and not one of them.
        memory: The memory of its process.
    """

    error: OctaboxError | None = None
    cause: str = ""
    memory: Memory = field(default_factory=Memory)


ToFollower = Join | Call | Decision


def describe_cause(error: BaseException) -> str:
    """Return the class and the message of an exception, by which the failures of two processes are compared."""
    return f"{type(error).__name__}: {error}"
