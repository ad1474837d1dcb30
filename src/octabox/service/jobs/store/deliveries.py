"""The webhooks in the store of background jobs, until they are delivered."""

from __future__ import annotations

import asyncio

from octabox.service.jobs.record import Delivery
from octabox.service.jobs.store.connection import StoreConnection


class StoredDeliveries(StoreConnection):
    """A store with the webhooks that are to be sent."""

    async def due_deliveries(self, limit: int, now: float, pause: float) -> list[Delivery]:
        """Return the webhooks to send, those that are due first at the front; other servers do not send them meanwhile.

        Args:
            limit: How many at most.
            now: The time in seconds since the epoch.
            pause: Seconds after which those that are due now are sent again, if this server ends before it has sent them.
        """
        due: list[Delivery] = await self._run("due_deliveries", limit, now, pause)
        return due

    def add_delivery(self, notice: Delivery) -> asyncio.Future[None]:
        """Add a webhook, or change its number of attempts and its time."""
        return self._run("add_delivery", notice)

    def remove_delivery(self, delivery_id: str) -> asyncio.Future[None]:
        """Delete a webhook."""
        return self._run("remove_delivery", delivery_id)
