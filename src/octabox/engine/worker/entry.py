"""The functions that a process begins with; they import torch only in that process, forked or spawned."""

import signal
from multiprocessing.connection import Connection


def work(connection: Connection) -> None:
    """Serve one model over this pipe until it closes."""
    _prepare()
    from octabox.engine.worker.process import serve  # noqa: PLC0415 (the server imports this file, and no torch)

    serve(connection)


def convert(connection: Connection) -> None:
    """Write one model out as this pipe's first message says."""
    _prepare()
    from octabox.engine.worker.loading.conversion import serve  # noqa: PLC0415 (likewise)

    serve(connection)


def survey(connection: Connection) -> None:
    """Send which accelerators there are over this pipe; torch alone is imported for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from octabox.engine.messages import Survey  # noqa: PLC0415 (likewise)
    from octabox.engine.worker.placement.device import find_bad_fork, survey_devices  # noqa: PLC0415

    try:
        connection.send(find_bad_fork() or survey_devices())
    except Exception as error:  # noqa: BLE001 (whatever a driver may raise, the server must hear of it)
        connection.send(Survey(problem=" ".join(str(error).split()) or type(error).__name__))


def _prepare() -> None:
    """Import what a worker needs; a fork of the fork server has it already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C may come before a spawned process has imported anything.
    import octabox.engine.worker.preload  # noqa: F401, PLC0415 (likewise)
