"""Notify URLs of the end of jobs, as defined by Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx

from octabox.errors import InvalidParameterError, OctaboxError
from octabox.security.urls import UrlGuard
from octabox.service.jobs.batches import batch_status, request_counts
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.record import Delivery, Notices, StoredJob
from octabox.service.jobs.store.store import JobStore

logger = logging.getLogger("octabox.jobs")

#: Seconds between the attempts to send a webhook, from the specification; after the last one it is given up.
DELAYS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)

#: Seconds of an attempt.
TIMEOUT = 15.0

#: How many webhooks are sent together: in all, and to one origin, which may not answer.
MAX_TOGETHER, MAX_PER_ORIGIN = 32, 2

#: Longest time between two looks at the store, in seconds.
MAX_WAIT = 60.0

#: Status of a receiver that is no longer interested.
GONE = 410


class Webhooks:
    """Sends webhooks, which are kept in the store until they are delivered or given up.

    Args:
        store: The store.
        key: Key of the signatures; without one, no webhook is accepted.
        guard: Checks URLs and opens connections.
        clock: Returns the time in seconds since the epoch.
    """

    def __init__(
        self, store: JobStore, key: bytes, guard: UrlGuard | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._key, self._guard, self._clock = store, key, guard or UrlGuard(), clock
        self._changed = asyncio.Event()
        #: The origins of the webhooks that are being sent.
        self._sending: dict[asyncio.Task[None], str] = {}

    def check(self, url: str) -> None:
        """Check the URL of a webhook.

        Raises:
            InvalidParameterError: The server has no key for signatures.
            ForbiddenUrlError: The URL is not allowed.
        """
        if not self._key:
            message, hint = "This server sends no webhooks.", "Set `webhook_secret`, or leave out 'webhook'."
            raise InvalidParameterError(message, hint=hint, parameter="webhook")
        self._guard.check_form(url, "webhook")

    def notices(self, job: StoredJob) -> Notices | None:
        """Return what is to be sent when a job ends; None if neither it nor its batch can have a webhook."""
        if not job.webhook and not (job.batch and self._key):
            return None
        data: dict[str, object] = {
            "id": job.id,
            "object": job.kind,
            "status": job.status,
            "model": job.request.model,
            "error": str(job.error) if job.error else None,
            "batch": job.batch,
        }
        own = self._delivery(job.webhook, f"{job.kind}.{job.status}", data) if job.webhook else None

        def of_batch(url: str, counts: Mapping[str, int]) -> Delivery:
            status = batch_status(counts)
            state = {"id": job.batch, "object": "batch", "status": status, "request_counts": request_counts(counts)}
            return self._delivery(url, f"batch.{status}", state)

        return Notices(own, of_batch, job.batch)

    def wake(self) -> None:
        """Look at the store, since it has new webhooks."""
        self._changed.set()

    async def serve(self) -> None:
        """Send webhooks until it is cancelled; those that are being sent then are sent again later."""
        try:
            while True:
                self._changed.clear()
                wait = await self._begin()
                changed = asyncio.ensure_future(self._changed.wait())
                # `wait_for` loses a cancellation that comes together with the event.
                await asyncio.wait({changed}, timeout=wait)
                changed.cancel()
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def _begin(self) -> float:
        """Begin to send what is due, as far as there is room, and return the seconds until the next look at the store."""
        now, room = self._clock(), MAX_TOGETHER - len(self._sending)
        if not room:
            return MAX_WAIT
        sending = Counter(self._sending.values())
        try:
            due, later = await self._store.due_deliveries(room, now, 2 * TIMEOUT, sending, MAX_PER_ORIGIN)
        except JobStoreError as error:
            logger.warning("Webhooks cannot be sent now: %s", error)
            return MAX_WAIT
        except Exception:  # The next ones may not have its cause, which may not last.
            logger.exception("Webhooks cannot be sent now")
            return MAX_WAIT
        for each in due:
            task = asyncio.create_task(self._deliver(each), name=f"webhook {each.id}")
            self._sending[task] = each.origin
            task.add_done_callback(self._forget)
        return MAX_WAIT if later is None else min(later - now, MAX_WAIT)

    def _forget(self, task: asyncio.Task[None]) -> None:
        """Forget the task of a webhook, and let the next one be sent."""
        del self._sending[task]
        self._changed.set()
        if not task.cancelled() and (error := task.exception()):
            logger.warning("A webhook may be sent again, since what became of it is not stored: %s", error)

    def _delivery(self, url: str, kind: str, data: Mapping[str, object]) -> Delivery:
        """Return a new webhook."""
        now = self._clock()
        name = f"evt_{uuid.uuid4().hex}"
        body = {"id": name, "object": "event", "type": kind, "created_at": int(now), "data": data}
        return Delivery(name, url, json.dumps(body), due=now)

    async def _deliver(self, notice: Delivery) -> None:
        """Send a webhook; if that fails, it is sent again later."""
        try:
            problem = await self._send(notice)
        except Exception:
            logger.exception("Sending a webhook for %s failed", notice.url)
            problem = "see the traceback"
        if problem is None:
            await self._store.remove_delivery(notice.id)
        elif problem == "" or notice.attempts >= len(DELAYS):
            logger.warning("A webhook for %s is given up: %s", notice.url, problem or "its receiver is gone")
            await self._store.remove_delivery(notice.id)
        else:
            logger.info("A webhook for %s is sent again later: %s", notice.url, problem)
            due = self._clock() + DELAYS[notice.attempts]
            await self._store.add_delivery(replace(notice, attempts=notice.attempts + 1, due=due))

    async def _send(self, notice: Delivery) -> str | None:
        """Send a webhook once, and return why that failed; None if it did not, empty if its receiver is gone."""
        stamp = str(int(self._clock()))
        headers = {
            "content-type": "application/json",
            "webhook-id": notice.id,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(self._key, notice.id, stamp, notice.body),
        }
        try:
            # Redirects are not followed: the URL is checked when the job is accepted, and its address when it is used.
            client = httpx.AsyncClient(transport=self._guard.transport(), timeout=TIMEOUT, trust_env=False)
            async with client:
                status = await asyncio.wait_for(_post(client, notice.url, notice.body, headers), TIMEOUT)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError, asyncio.TimeoutError, OctaboxError) as error:
            return str(error) or type(error).__name__
        if status == GONE:
            return ""
        return None if httpx.codes.is_success(status) else f"it responded with status {status}"


async def _post(client: httpx.AsyncClient, url: str, body: str, headers: Mapping[str, str]) -> int:
    """Send a body, and return the status of the response; what follows is not read, however long it is."""
    async with client.stream("POST", url, content=body.encode(), headers=headers) as response:
        return response.status_code


def sign(key: bytes, name: str, stamp: str, body: str) -> str:
    """Return the signature of a webhook.

    Args:
        key: The key.
        name: Its id.
        stamp: Its time, in seconds since the epoch.
        body: Its body.
    """
    digest = hmac.new(key, f"{name}.{stamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"
