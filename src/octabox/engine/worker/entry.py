"""The functions that a worker process begins with; they import torch only in that process."""

from multiprocessing.connection import Connection


def work(connection: Connection) -> None:
    """Serve one model over this pipe until it closes."""
    from octabox.engine.worker.process import serve  # noqa: PLC0415 (the server imports this file, and no torch)

    serve(connection)


def convert(connection: Connection) -> None:
    """Write one model out as this pipe's first message says."""
    from octabox.engine.worker.loading.conversion import serve  # noqa: PLC0415 (likewise)

    serve(connection)
