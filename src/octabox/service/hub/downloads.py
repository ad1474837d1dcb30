"""Download the model of a request before it is loaded, as progress of the request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Engine
from octabox.errors import GenerationCancelledError
from octabox.hub.pulls.models import plan_model
from octabox.service.hub.pulls import Pulls
from octabox.types import Progress

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
        """Download the model of a configuration if it is not complete in the cache, and yield the progress in bytes.

        Closing the iterator cancels the download, unless it was requested by others as well.

        Raises:
            OctaboxError: It cannot be downloaded.
        """
        if any(status.model == config.name for status in self._engine.status()):
            return
        omit = {name for name, part in config.parts() if part.model or part.omit}
        plan = await asyncio.to_thread(plan_model, config.model, config.revision, variant=config.variant, omit=omit)
        if plan is None:
            return
        logger.info("%s is being downloaded", config.model)
        job = self._pulls.start(plan.request, kept=False)
        async with aclosing(self._pulls.follow(job)) as changes:
            async for each in changes:
                if each.progress is not None:
                    yield Progress("downloading", each.progress.done, each.progress.total)
        if job.error is not None:
            raise job.error
        if job.status == "cancelled":
            raise GenerationCancelledError(f"The download of {config.model} was cancelled.", model=config.name)
        logger.info("%s is downloaded", config.model)

    async def finish(self, config: ModelConfig) -> None:
        """Download the model of a configuration if it is not complete in the cache."""
        async with aclosing(self.stream(config)) as progress:
            async for _ in progress:
                pass
