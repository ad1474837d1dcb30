"""Methods of LocalAI's contract."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from octabox.errors import OctaboxError
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.contract import Message
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.errors import code_of, details_of, encodable
from octabox.frontends.grpc.localai.loading.model_slot import LoadedModel, ModelSlot
from octabox.frontends.grpc.localai.loading.options import to_model
from octabox.frontends.grpc.localai.making import audio, files, requests, results
from octabox.frontends.grpc.localai.making.requests import Context
from octabox.media.decoding.decoders import Decoder
from octabox.service.protocols import GenerationService
from octabox.service.selection.inputs import bindings_for
from octabox.service.workflows.upscale import upscale_image
from octabox.types import Artifact, Generation, GenerationRequest

logger = logging.getLogger("octabox.localai")

#: Message of LocalAI's backends for a loaded model, which its tests compare.
LOADED = "Model loaded successfully"

#: Translates a message to a request.
Translate = Callable[[Message, Context], GenerationRequest]

#: The artifact to write, and warnings about those that are left out.
Converted = tuple[Artifact, tuple[str, ...]]

#: Converts a result to the artifact to write.
Convert = Callable[[Generation], Converted]

#: Runs a request.
Run = Callable[[GenerationRequest], Awaitable[Generation]]


@dataclass
class Servicer:
    """Handles calls.

    Args:
        slot: Holds the model.
        generations: Runs requests.
        environment: LocalAI's variables.
        paths: Folders that requests may use.
        decoder: Decodes images.
        max_pixels: Maximum number of pixels of a scaled image.
        device: Device of the server's settings.
    """

    slot: ModelSlot
    generations: GenerationService
    environment: Environment
    paths: files.AllowedPaths
    decoder: Decoder
    max_pixels: int
    device: str | None = None

    async def Health(self, request: Message, context: Any) -> Message:  # noqa: ARG002, N802 (the contract's)
        """Respond immediately."""
        return contract.Reply(message=b"OK")

    async def Status(self, request: Message, context: Any) -> Message:  # noqa: ARG002, N802 (the contract's)
        """Return the state of the model, and its memory."""
        memory = self.slot.memory()
        state = contract.StatusResponse.State.Value(self.slot.state())
        return contract.StatusResponse(state=state, memory={"total": sum(memory.values()), "breakdown": memory})

    async def LoadModel(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Load a model in place of the current one."""

        async def work() -> str:
            load_request = await asyncio.to_thread(to_model, request, self.environment, self.device)
            warnings = await self.slot.load(load_request)
            name = load_request.config.name
            for warning in warnings:
                logger.warning("%s: %s", name, warning)
            logger.info("%s is loaded on %s", name, self.slot.device() or "no device")
            return " ".join([f"{LOADED}.", *warnings]) if warnings else LOADED

        return await _respond(context, work())

    async def Free(self, request: Message, context: Any) -> Message:  # noqa: ARG002, N802 (the contract's)
        """Unload the model."""

        async def work() -> str:
            return "The model is unloaded." if await self.slot.free() else "No model was loaded."

        return await _respond(context, work())

    async def GenerateImage(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Generate an image, or an animated image of a video."""

        def convert(generation: Generation) -> Converted:
            entry = self.slot.catalog.pipelines.get(generation.pipeline)
            animated = entry is not None and entry.output_kind == "video"
            return results.to_image(generation, animated=animated, fps=self.environment.fps)

        work = self._generate(request, request.ModelIdentity, requests.image_request, convert)
        return await _respond(context, work)

    async def GenerateVideo(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Generate a video."""

        def convert(generation: Generation) -> Converted:
            return results.first_of_type(generation, "video")

        work = self._generate(request, request.ModelIdentity, requests.video_request, convert)
        return await _respond(context, work)

    async def SoundGeneration(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Generate audio."""

        def convert(generation: Generation) -> Converted:
            return results.first_of_type(generation, "audio")

        work = self._generate(request, request.ModelIdentity, audio.audio_request, convert)
        return await _respond(context, work)

    async def UpscaleImage(self, request: Message, context: Any) -> Message:  # noqa: N802 (the contract's)
        """Upscale an image."""

        async def run(generation_request: GenerationRequest) -> Generation:
            scale = request.scale or None
            return await upscale_image(self.generations, generation_request, scale, self.decoder, self.max_pixels)

        def convert(generation: Generation) -> Converted:
            return results.to_image(generation, animated=False, fps=1)

        return await _respond(context, self._generate(request, "", requests.upscale_request, convert, run))

    async def _generate(
        self, message: Message, identity: str, translate: Translate, convert: Convert, run: Run | None = None
    ) -> str:
        """Run a request and write its file; return a message for the client."""
        target = await asyncio.to_thread(self.paths.resolve_target, message.dst)
        async with self.slot.using(identity) as loaded:
            request = await asyncio.to_thread(translate, message, self._context(loaded))
            generation = await (run or self.generations.generate)(request)
            artifact, left_out = await asyncio.to_thread(convert, generation)
            await asyncio.to_thread(files.write, target, artifact.content)
        seed = f"Its seed is {artifact.seed}." if artifact.seed is not None else ""
        return " ".join(filter(None, [f"{target.name} is written.", seed, *generation.warnings, *left_out]))

    def _context(self, loaded: LoadedModel) -> Context:
        """Return what a message is translated with."""
        folder = loaded.request.folder
        paths = self.paths.with_readable(folder) if folder else self.paths
        bindings = bindings_for(loaded.served, self.slot.catalog)
        return Context(bindings, loaded.served.config.defaults, self.environment, paths.read)


async def _respond(context: Any, work: Awaitable[str]) -> Message:
    """Return a successful result with a message, or a failure, which sets the status of the call too."""
    try:
        return _result(await work, success=True)
    except OctaboxError as error:
        context.set_code(code_of(error))
        context.set_details(details_of(error))
        return _result(str(error), success=False)
    except Exception as error:
        # An unexpected error must neither stop the process nor reach the client with details.
        logger.exception("A call failed")
        message = f"Internal error ({type(error).__name__}). Its details are in the backend's log."
        context.set_code(grpc.StatusCode.INTERNAL)
        context.set_details(message)
        return _result(message, success=False)


def _result(message: str, *, success: bool) -> Message:
    """Return the result of a call."""
    return contract.Result(success=success, message=encodable(message))
