"""The methods of LocalAI's contract."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from octabox.errors import OctaboxError
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.contract import Message
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.errors import code_of, details_of
from octabox.frontends.grpc.localai.loading.model_slot import ModelSlot, ResidentModel
from octabox.frontends.grpc.localai.loading.options import to_model
from octabox.frontends.grpc.localai.making import files, requests, results
from octabox.frontends.grpc.localai.making.requests import Context
from octabox.media.limits import MediaLimits
from octabox.service.selection.inputs import bindings_for
from octabox.service.workflows.upscale import enlarged
from octabox.types import Artifact, Generation, GenerationRequest

logger = logging.getLogger("octabox.localai")

#: What LocalAI's own backends answer when a model is in memory; its tests compare it.
LOADED = "Model loaded successfully"

#: From a message to a request.
Translate = Callable[[Message, Context], GenerationRequest]

#: From what was made to the file to write.
Finish = Callable[[Generation], Artifact]

#: From a request to what was made.
Run = Callable[[GenerationRequest], Awaitable[Generation]]


class GenerationService(Protocol):
    """Runs requests."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        ...


@dataclass
class Servicer:
    """Answers calls.

    Args:
        residence: Holds the model.
        generations: Runs requests.
        environment: LocalAI's variables.
        roots: Folders that requests may name files in.
        limits: How large images may be.
        device: Device of the server's settings.
    """

    slot: ModelSlot
    generations: GenerationService
    environment: Environment
    roots: files.AllowedPaths
    limits: MediaLimits
    device: str | None = None

    async def Health(self, request: Message, context: Any) -> Message:  # noqa: ARG002, N802 (the contract's)
        """Answer at once."""
        return contract.Reply(message=b"OK")

    async def Status(self, request: Message, context: Any) -> Message:  # noqa: ARG002, N802 (the contract's)
        """Tell what the model does, and how much memory it holds."""
        held = self.slot.memory()
        state = contract.StatusResponse.State.Value(self.slot.state())
        return contract.StatusResponse(state=state, memory={"total": sum(held.values()), "breakdown": held})

    async def LoadModel(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Bring a model into memory in place of the one that is there."""

        async def work() -> str:
            wanted = await asyncio.to_thread(to_model, request, self.environment, self.device)
            warnings = await self.slot.load(wanted)
            for warning in warnings:
                logger.warning("%s: %s", wanted.config.name, warning)
            logger.info("%s is loaded on %s", wanted.config.name, self.slot.device() or "no device")
            return " ".join([f"{LOADED}.", *warnings]) if warnings else LOADED

        return await _answer(context, work())

    async def Free(self, request: Message, context: Any) -> Message:  # noqa: ARG002, N802 (the contract's)
        """Take the model out of memory."""

        async def work() -> str:
            return "The model is out of memory." if await self.slot.free() else "There was no model in memory."

        return await _answer(context, work())

    async def GenerateImage(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Make an image, or an animated one of a video."""

        def finish(generation: Generation) -> Artifact:
            entry = self.slot.catalog.pipelines.get(generation.pipeline)
            moving = entry is not None and entry.output_kind == "video"
            return results.image(generation, moving=moving, fps=self.environment.fps)

        return await _answer(context, self._make(request, request.ModelIdentity, requests.image_request, finish))

    async def GenerateVideo(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Make a video."""

        def finish(generation: Generation) -> Artifact:
            return results.of_kind(generation, "video")

        return await _answer(context, self._make(request, request.ModelIdentity, requests.video_request, finish))

    async def SoundGeneration(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Make an audio."""

        def finish(generation: Generation) -> Artifact:
            return results.of_kind(generation, "audio")

        return await _answer(context, self._make(request, request.ModelIdentity, requests.audio_request, finish))

    async def UpscaleImage(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Enlarge an image."""

        async def run(wanted: GenerationRequest) -> Generation:
            return await enlarged(self.generations, wanted, request.scale or None, self.limits)

        def finish(generation: Generation) -> Artifact:
            return results.image(generation, moving=False, fps=1)

        return await _answer(context, self._make(request, "", requests.upscale_request, finish, run))

    async def _make(
        self, message: Message, identity: str, translate: Translate, finish: Finish, run: Run | None = None
    ) -> str:
        """Run a request and write its file; return what to say of it."""
        place = await asyncio.to_thread(self.roots.target, message.dst)
        async with self._using(identity) as resident:
            wanted = await asyncio.to_thread(translate, message, self._context(resident))
            generation = await (run or self.generations.generate)(wanted)
            artifact = await asyncio.to_thread(finish, generation)
            await asyncio.to_thread(files.write, place, artifact.content)
        seed = f"Its seed is {artifact.seed}." if artifact.seed is not None else ""
        return " ".join(filter(None, [f"{place.name} is written.", seed, *generation.warnings]))

    def _using(self, identity: str) -> AbstractAsyncContextManager[ResidentModel]:
        return self.slot.using(identity)

    def _context(self, resident: ResidentModel) -> Context:
        """Return what a message is translated with."""
        folder = resident.wanted.folder
        roots = self.roots.with_readable(folder) if folder else self.roots
        bindings = bindings_for(resident.served, self.slot.catalog)
        return Context(bindings, resident.served.config.defaults, self.environment, roots.read)


async def _answer(context: Any, work: Awaitable[str]) -> Message:
    """Return a result: a success and what to say of it, or a failure, which the call's status tells too."""
    try:
        return contract.Result(success=True, message=await work)
    except OctaboxError as error:
        context.set_code(code_of(error))
        context.set_details(details_of(error))
        return contract.Result(success=False, message=str(error))
    except Exception as error:
        # Nothing that a request does may end the process, or tell a stranger what is inside.
        logger.exception("A call failed")
        message = f"Something went wrong inside the backend ({type(error).__name__}); its log says more."
        context.set_code(grpc.StatusCode.INTERNAL)
        context.set_details(message)
        return contract.Result(success=False, message=message)
