"""The function that a worker process begins with; it imports torch only in that process."""

from multiprocessing.connection import Connection


def work(connection: Connection) -> None:
    """Serve one model over this pipe until it closes."""
    from octabox.engine.worker.process import serve  # noqa: PLC0415 (the server imports this file, and no torch)

    serve(connection)
