"""Large messages between the server and its workers, which pass through the store that all share.

Ray would keep them in the shared memory of both nodes. What travels through Ray is the name of the file and its digest, so
that a user who can write to the store cannot change what is unpickled.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass

from octabox.errors import CapacityError
from octabox.storage import FileStore, random_name

logger = logging.getLogger("octabox.engine")

#: Bytes from which a message passes through the store.
MIN_BYTES = 1024**2

#: Seconds after which a message that nobody has taken is deleted, such as that of a server that was killed.
MAX_AGE = 24 * 3600.0

#: Seconds between two looks for those.
SWEEP_INTERVAL = 3600.0

#: Folder of the store.
FOLDER = "messages"


@dataclass(frozen=True)
class StoredMessage:
    """A message in the store.

    Args:
        name: Name of its file.
        digest: SHA-256 of its content.
    """

    name: str
    digest: str


class MessageStore:
    """The messages in a store; each is taken once.

    Args:
        store: The store.
    """

    def __init__(self, store: FileStore) -> None:
        self._files, self.url = store.within(FOLDER), store.url

    def put(self, content: bytes) -> StoredMessage:
        """Write a message.

        Raises:
            CapacityError: It cannot be written.
        """
        message = StoredMessage(random_name(), hashlib.sha256(content).hexdigest())
        self._files.write(message.name, content)
        return message

    def take(self, message: StoredMessage) -> bytes:
        """Return the content of a message, and delete it.

        Raises:
            CapacityError: It cannot be read, or is not what was written.
        """
        content = self._files.read(message.name)
        self._files.drop([message.name])
        if hashlib.sha256(content).hexdigest() != message.digest:
            raise CapacityError(
                f"A message in `file_store` '{self._files.shown}' was changed.", hint="Restrict who may write to it."
            )
        return content

    async def delete_old(self) -> None:
        """Delete the messages that nobody has taken, regularly, until it is cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._files.sweep, age=MAX_AGE)
            except Exception:
                logger.exception("Old messages of the cluster could not be deleted")
            await asyncio.sleep(SWEEP_INTERVAL)
