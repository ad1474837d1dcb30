"""The webhooks in the store of background jobs, until they are delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from octabox.service.jobs.record import Delivery
from octabox.service.jobs.store.connection import StoreConnection


class StoredDeliveries(StoreConnection):
    """A store with the webhooks that are to be sent."""

    async def due_deliveries(
        self, limit: int, now: float, pause: float, sending: Mapping[str, int], per_origin: int
    ) -> tuple[list[Delivery], float | None]:
        """Return the webhooks to send, those that are due first at the front; other servers do not send them meanwhile.

        Args:
            limit: How many at most.
            now: The time in seconds since the epoch.
            pause: Seconds after which they are sent again, if this server ends before it has sent them.
            sending: How many this server is sending, by their origins.
            per_origin: How many it sends at most to an origin.

        Returns:
            The webhooks, and when the next one is due.
        """
        due: tuple[list[Delivery], float | None] = await self._run(
            "due_deliveries", limit, now, pause, sending, per_origin
        )
        return due

    def add_delivery(self, notice: Delivery) -> asyncio.Future[None]:
        """Add a webhook, or change its number of attempts and its time."""
        return self._run("add_delivery", notice)

    def remove_delivery(self, delivery_id: str) -> asyncio.Future[None]:
        """Delete a webhook."""
        return self._run("remove_delivery", delivery_id)
