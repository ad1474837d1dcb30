"""From a client's words to a generation request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from octabox.errors import MissingParameterError
from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.openai.schema import ImageRequest
from octabox.frontends.http.responses import response_format_of
from octabox.frontends.naming.parameters import ALIASES, Inputs, call_parameters, requested_size
from octabox.frontends.naming.prompts import prompts_of
from octabox.media.formats import check, chosen
from octabox.types import GenerationRequest, OutputFormat

#: Fields that are taken for compatibility and change nothing.
WITHOUT_EFFECT = ("background", "moderation", "style", "input_fidelity")


@dataclass(frozen=True)
class ParsedRequest:
    """What a client wants, and how it wants to be answered.

    Args:
        request: The wish, in diffusers' words.
        response_format: ``url`` or ``b64_json``.
        quality: As the client gave it.
        warnings: What has no effect.
        spelled: The client's names of parameters that the core calls otherwise.
    """

    request: GenerationRequest
    response_format: str
    quality: str | None = None
    warnings: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)

    def rename_error_params(self) -> AbstractContextManager[None]:
        """Name parameters in errors as the client named them."""
        return rename_error_params(self.spelled)


def to_request(
    body: ImageRequest, model: str, inputs: Inputs | None = None, task: str | None = None, *, wordless: bool = False
) -> ParsedRequest:
    """Return what a client wants.

    Args:
        body: The fields of its request.
        model: The model that serves it.
        inputs: Media that came as files.
        task: Hub task tag where the client names none.
        wordless: Whether the model takes no prompt: OpenAI's clients send one all the same, which is then only a wish.

    Raises:
        RequestError: A field has a wrong value.
    """
    warnings: list[str] = []
    params, spelled = call_parameters(body.others, inputs or {})
    prompts = prompts_of(body.prompt, body.negative_prompt)
    params |= {} if wordless else prompts
    wishes = requested_size(body.size, params)
    if wishes:
        spelled = {"width": "size", "height": "size", **spelled}
    wishes |= {name: prompt for name, prompt in prompts.items() if wordless and prompt}
    wishes |= _quality(body.quality, params, warnings)
    output = OutputFormat(body.output_format, body.output_compression)
    check(output, "image")
    if chosen("image", output) == "png" and body.output_compression not in (None, 100):
        warnings.append("'output_compression' has no effect on png.")
    if body.partial_images and not body.stream:
        warnings.append("'partial_images' has no effect without 'stream'.")
    vain = [name for name in WITHOUT_EFFECT if getattr(body, name) not in (None, "", "auto")]
    warnings += [f"'{name}' has no effect." for name in vain]
    warnings += ["'backend' has no effect: every model is of one kind here."] if body.backend else []
    request = GenerationRequest(
        model=model,
        task=body.task or task,
        params=params,
        wishes=wishes,
        inputs=dict(inputs or {}),
        seed=None if body.seed == -1 else body.seed,
        num_outputs=body.n,
        output=output,
        partial_images=body.partial_images if body.stream else 0,
    )
    quality = None if body.quality is None else str(body.quality)
    spelled = {"num_outputs": "n", "mask_image": "mask" if "mask_image" in (inputs or {}) else "mask_image", **spelled}
    return ParsedRequest(
        body.control_from_aliases(request), response_format_of(body.response_format), quality, tuple(warnings), spelled
    )


def require_prompt(body: ImageRequest) -> None:
    """Make sure that there is a prompt.

    Raises:
        MissingParameterError: There is none, or it is empty.
    """
    prompts = body.prompt if isinstance(body.prompt, list) else [body.prompt or ""]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        hint = "Say what to paint."
        raise MissingParameterError("'prompt' is missing or empty.", hint=hint, parameter="prompt")


def needs_prompt(body: ImageRequest) -> bool:
    """Return whether nothing but a prompt can say what a client wants."""
    given = {ALIASES.get(name, name) for name in body.others}
    return "image" not in given and "prompt_embeds" not in given and body.task in (None, "text-to-image")


def _quality(quality: str | int | None, params: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return the wish that a quality means: LocalAI takes a number for the number of steps."""
    text = "" if quality is None else str(quality).strip().lower()
    if text in ("", "auto", "standard"):
        return {}
    if re.fullmatch(r"\d{1,6}", text) and "num_inference_steps" not in params:
        return {"num_inference_steps": int(text)}
    warnings.append(f"'quality' has no effect as '{text[:50]}'.")
    return {}
