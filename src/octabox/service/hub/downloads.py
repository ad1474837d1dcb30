"""Download what a request needs of the Hub before it is loaded, as progress of the request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Engine
from octabox.engine.sources.requests import adapter_requests, plan_downloads, plan_request
from octabox.errors import GenerationCancelledError
from octabox.hub.pulls.plan import PullPlan
from octabox.service.hub.pulls import Pulls
from octabox.types import Event, Progress

logger = logging.getLogger("octabox.hub")


class ModelDownloads:
    """Downloads the models of requests.

    Args:
        pulls: The downloads of the server.
        engine: Holds the models in memory, which are not looked up in the cache again.
    """

    def __init__(self, pulls: Pulls, engine: Engine) -> None:
        self._pulls, self._engine = pulls, engine

    async def stream(self, config: ModelConfig) -> AsyncGenerator[Progress, None]:
        """Download what a model needs and is not complete in the cache, and yield the progress in bytes.

        Components, LoRAs and IP-Adapters of its configuration are downloaded as the model itself is. Closing the iterator
        cancels the download, unless it was requested by others as well.

        Raises:
            OctaboxError: Something cannot be downloaded.
        """
        if any(status.model == config.name for status in self._engine.status()):
            return
        plans = await asyncio.to_thread(lambda: [*plan_downloads(config)])
        async with aclosing(self._carry_out(plans, config.name)) as progress:
            async for each in progress:
                yield each

    async def stream_adapters(self, call: Call) -> AsyncGenerator[Progress, None]:
        """Download the LoRAs that a request names by Hub id, and yield the progress as `stream` does."""
        requests = [*adapter_requests(run.adapters for run in call.runs)]
        if not requests:
            return
        found = await asyncio.to_thread(lambda: [plan_request(each) for each in requests])
        async with aclosing(self._carry_out([each for each in found if each is not None], call.model.name)) as progress:
            async for each in progress:
                yield each

    def has_adapters(self, call: Call) -> bool:
        """Return whether a request names LoRAs by Hub id."""
        return any(True for _ in adapter_requests(run.adapters for run in call.runs))

    async def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Download the LoRAs of a call, run it, and yield the progress and the result."""
        async with aclosing(self.stream_adapters(call)) as progress:
            async for each in progress:
                yield each
        async with aclosing(self._engine.generate(call)) as events:
            async for event in events:
                yield event

    async def finish(self, config: ModelConfig) -> None:
        """Download what a model needs and is not complete in the cache."""
        async with aclosing(self.stream(config)) as progress:
            async for _ in progress:
                pass

    async def _carry_out(self, plans: Sequence[PullPlan], model: str) -> AsyncGenerator[Progress, None]:
        """Carry out plans one after another, and yield the progress of all in bytes."""
        before, total = 0, sum(plan.size for plan in plans)
        for plan in plans:
            name = plan.request.repo
            logger.info("%s is being downloaded", name)
            job = self._pulls.start(plan.request, kept=False)
            async with aclosing(self._pulls.follow(job)) as changes:
                async for each in changes:
                    if each.progress is not None:
                        yield Progress("downloading", before + each.progress.done, total)
            if job.error is not None:
                raise job.error
            if job.status == "cancelled":
                raise GenerationCancelledError(f"The download of {name} was cancelled.", model=model)
            before += plan.size
            logger.info("%s is downloaded", name)
