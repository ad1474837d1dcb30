"""Entry points of worker processes, which import torch only in that process, forked or spawned."""

import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection


def work(connection: Connection, followers: Sequence[Connection] = ()) -> None:
    """Serve one model over a pipe until it closes.

    Args:
        connection: The pipe to the server.
        followers: The pipes to the other processes that the model is split over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from octabox.engine.worker.process.pipe import Pipe  # noqa: PLC0415 (the server needs no end of a worker)

    pipe = Pipe(connection)  # Before the imports of a spawned process, during which it answers.
    _prepare()
    from octabox.engine.worker.process.serving import serve  # noqa: PLC0415 (the server imports this file without torch)

    serve(pipe, followers)


def follow(connection: Connection) -> None:
    """Load the model of another worker, and run its calls with it, until the pipe to it closes."""
    _prepare()
    from octabox.engine.worker.gang.follower import LeaderPipe, serve  # noqa: PLC0415 (likewise)

    serve(LeaderPipe(connection))


def convert(connection: Connection) -> None:
    """Convert one model as the first message of a pipe requests."""
    _prepare()
    from octabox.engine.worker.loading.conversion import serve  # noqa: PLC0415 (likewise)

    serve(connection)


def survey(connection: Connection) -> None:
    """Send a report of the accelerators over a pipe, for which only torch is imported."""
    _survey(connection, always_free=False)


def survey_free(connection: Connection) -> None:
    """Send a report of the accelerators and the free memory of each over a pipe."""
    _survey(connection, always_free=True)


def _survey(connection: Connection, *, always_free: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from octabox.engine.messages import Survey  # noqa: PLC0415 (likewise)
    from octabox.engine.worker.placement.device import find_bad_fork, survey_devices  # noqa: PLC0415

    try:
        connection.send(find_bad_fork() or survey_devices(always_free=always_free))
    except Exception as error:  # noqa: BLE001 (a driver may raise anything, and the server must get a report)
        connection.send(Survey(problem=" ".join(str(error).split()) or type(error).__name__))


def _prepare() -> None:
    """Import what a worker needs; a fork of the fork server has imported it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Before a spawned process imports anything.
    import octabox.engine.worker.preload  # noqa: F401, PLC0415 (likewise)
