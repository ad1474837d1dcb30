"""The connection to the store of background jobs, whose library is imported late, so that the server starts quickly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.store.files import FolderFiles, JobFiles, SharedFiles
from octabox.storage import FileStore

if TYPE_CHECKING:
    from octabox.service.jobs.store.database import Database
    from octabox.service.jobs.store.presence import Presence
    from octabox.service.jobs.store.writer import Writer


class StoreConnection:
    """A database that is opened later, and the files that belong to it.

    Args:
        url: URL of the database; None is an SQLite file in the folder.
        folder: The data folder.
        shared: Where the files are; None is the data folder.
    """

    def __init__(self, url: str | None, folder: Path, shared: FileStore | None = None) -> None:
        self._url, self._folder, self._shared = url, folder, shared
        self._database: Database | None = None
        self._writer: Writer | None = None
        self._statements: dict[str, Any] = {}
        self._presence: Presence | None = None
        self.server, self.is_shared = "", False
        self._files: JobFiles | None = None
        self.secret = b""

    @property
    def is_open(self) -> bool:
        """Whether the database is open."""
        return self._writer is not None

    @property
    def files(self) -> JobFiles:
        """The files of the jobs.

        Raises:
            JobStoreError: The store is not open.
        """
        if self._files is None:
            raise JobStoreError("The store of background jobs is not open.")
        return self._files

    async def open(self) -> None:
        """Open the database, which takes some time in another thread.

        Raises:
            JobStoreError: It cannot be opened now.
            ConfigError: It cannot be opened until a setting or the database is changed.
            MissingDependencyError: Its driver is not installed.
        """
        try:
            await asyncio.to_thread(self._open)
            self.secret = (await self._run("get_property", "secret")).encode()
            if self._shared:
                # By database, since files that one does not know are deleted.
                database = hashlib.sha256(b"files" + self.secret).hexdigest()[:16]
                self._files = SharedFiles(self._shared.within(f"jobs-{database}"))
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError):
                message = f"The folder of the store of background jobs cannot be used: {error.strerror}."
                raise JobStoreError(message, hint="Check `data_dir`.") from error
            raise

    async def close(self) -> None:
        """Write what waits, and close the database."""
        writer, database = self._writer, self._database
        self._writer = self._database = None
        if writer is not None:
            await asyncio.to_thread(writer.close)
        if self._presence is not None:
            self._presence.abandon()
        if database is not None:
            await asyncio.to_thread(database.close)

    async def drop_files(self, names: Sequence[str]) -> None:
        """Delete files; the store that has them may be elsewhere, for which the event loop does not wait."""
        if names:
            await asyncio.to_thread(self.files.drop, names)

    def _open(self) -> None:
        """Import the library and open the database."""
        from octabox.service.jobs.store import leases  # noqa: PLC0415 (it takes 0.4 seconds and 12 MB)
        from octabox.service.jobs.store.database import open_database  # noqa: PLC0415
        from octabox.service.jobs.store.presence import Presence  # noqa: PLC0415
        from octabox.service.jobs.store.schema import deliveries, output_marks, removal, statements  # noqa: PLC0415
        from octabox.service.jobs.store.writer import Writer  # noqa: PLC0415

        self._database = open_database(self._url, self._folder)
        self._files = None if self._shared else FolderFiles(self._database.folder / "files")
        self._presence = Presence(self._database.folder, self._shared.id if self._shared else None)
        rooms = (deliveries, output_marks, removal, statements, leases)
        self._statements = {name: each for room in rooms for name, each in vars(room).items()}
        self._writer = Writer(self._database.engine)

    def _run(self, name: str, *args: Any) -> asyncio.Future[Any]:
        """Run a statement in the next transaction.

        Raises:
            JobStoreError: The store is not open.
        """
        if self._writer is None:
            raise JobStoreError("The store of background jobs is not open.")
        return self._writer.run(partial(_call, self._statements[name], args))


def _call(statement: Any, args: tuple[Any, ...], connection: Any) -> Any:
    """Call a statement with a connection, which is its first argument."""
    return statement(connection, *args)
