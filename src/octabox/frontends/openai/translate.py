"""From a client's words to a generation request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.frontends.bodies import scheduler_choice
from octabox.frontends.errors import in_clients_words
from octabox.frontends.openai.schema import ImageRequest
from octabox.media.formats import check, chosen
from octabox.types import GenerationRequest, OutputFormat, Source

#: LocalAI's spellings of call parameters.
SPELLINGS = {
    "step": "num_inference_steps",
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "file": "image",
    "ref_images": "image",
}

#: Ways to answer.
RESPONSE_FORMATS = ("url", "b64_json")

#: Fields that are taken for compatibility and change nothing.
WITHOUT_EFFECT = ("background", "moderation", "style", "input_fidelity")

#: Media of an edit or a variation, by call parameter.
Inputs = Mapping[str, tuple[Source, ...]]

_SIZE = re.compile(r"(\d{1,9})[xX](\d{1,9})")
_BAR = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Wanted:
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

    def in_clients_words(self) -> AbstractContextManager[None]:
        """Name parameters in errors as the client named them."""
        return in_clients_words(self.spelled)


def to_request(body: ImageRequest, model: str, inputs: Inputs | None = None, task: str | None = None) -> Wanted:
    """Return what a client wants.

    Args:
        body: The fields of its request.
        model: The model that serves it.
        inputs: Media that came as files.
        task: Hub task tag where the client names none.

    Raises:
        RequestError: A field has a wrong value.
    """
    warnings: list[str] = []
    params, spelled = call_parameters(body.others, inputs or {})
    params |= _prompts(body)
    wishes = wished_size(body.size, params)
    if wishes:
        spelled = {"width": "size", "height": "size", **spelled}
    wishes |= _quality(body.quality, params, warnings)
    output = OutputFormat(body.output_format, body.output_compression)
    check(output, "image")
    if chosen("image", output) == "png" and body.output_compression not in (None, 100):
        warnings.append("'output_compression' has no effect on png.")
    if body.partial_images and not body.stream:
        warnings.append("'partial_images' has no effect without 'stream'.")
    vain = [name for name in WITHOUT_EFFECT if getattr(body, name) not in (None, "", "auto")]
    warnings += [f"'{name}' has no effect." for name in vain]
    request = GenerationRequest(
        model=model,
        task=body.task or task,
        params=params,
        wishes=wishes,
        inputs=dict(inputs or {}),
        seed=None if body.seed == -1 else body.seed,
        num_outputs=body.n,
        scheduler=scheduler_choice(body.scheduler),
        output=output,
        partial_images=body.partial_images if body.stream else 0,
    )
    quality = None if body.quality is None else str(body.quality)
    spelled = {"num_outputs": "n", "mask_image": "mask" if "mask_image" in (inputs or {}) else "mask_image", **spelled}
    return Wanted(request, _response_format(body.response_format), quality, tuple(warnings), spelled)


def split_prompt(text: str) -> tuple[str, str | None]:
    r"""Return the two parts of LocalAI's ``positive|negative``; ``\|`` is a bar that parts nothing."""
    positive, *negative = _BAR.split(text, maxsplit=1)
    if not negative:
        return unescape(positive), None
    return unescape(positive).strip(), unescape(negative[0]).strip()


def unescape(text: str) -> str:
    r"""Return a prompt with ``\|`` as ``|``."""
    return text.replace("\\|", "|")


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
    given = {SPELLINGS.get(name, name) for name in body.others}
    return "image" not in given and "prompt_embeds" not in given and body.task in (None, "text-to-image")


def call_parameters(others: Mapping[str, Any], inputs: Inputs) -> tuple[dict[str, Any], dict[str, str]]:
    """Return call parameters by their own names, and the client's spelling of those that it called otherwise."""
    params: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name, value in others.items():
        proper = SPELLINGS.get(name, name)
        if proper in params or proper in inputs:
            other = spelled.get(proper, proper)
            what = f"'{name}' and '{other}' are the same" if name != other else f"'{name}' is given twice"
            raise InvalidParameterError(f"{what}.", hint="Give one of them.", parameter=name)
        params[proper] = value
        if proper != name:
            spelled[proper] = name
    return params, spelled


def _prompts(body: ImageRequest) -> dict[str, Any]:
    """Return the prompt and the negative prompt, parted where they came as one."""
    found: dict[str, Any] = {}
    if body.negative_prompt is not None:
        found["negative_prompt"] = body.negative_prompt
    if body.prompt is None:
        return found
    texts = body.prompt if isinstance(body.prompt, list) else [body.prompt]
    if found:
        positives: list[str] = [unescape(text) for text in texts]
    else:
        parted = [split_prompt(text) for text in texts]
        positives = [positive for positive, _ in parted]
        if any(negative is not None for _, negative in parted):
            negatives = [negative or "" for _, negative in parted]
            found["negative_prompt"] = negatives if isinstance(body.prompt, list) else negatives[0]
    return {"prompt": positives if isinstance(body.prompt, list) else positives[0], **found}


def wished_size(size: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wishes that a size means."""
    if size is None or size.strip().lower() in ("", "auto"):
        return {}
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        hint = "Give 'WIDTHxHEIGHT' in pixels, such as '512x512', or 'auto'."
        raise InvalidParameterError(f"'size' must be a size, not '{size[:50]}'.", hint=hint, parameter="size")
    both = [name for name in ("width", "height") if name in params]
    if both:
        hint = "Give one of them."
        raise InvalidParameterError(f"'size' and '{both[0]}' say the same.", hint=hint, parameter=both[0])
    return {"width": int(match[1]), "height": int(match[2])}


def _quality(quality: str | int | None, params: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return the wish that a quality means: LocalAI takes a number for the number of steps."""
    text = "" if quality is None else str(quality).strip().lower()
    if text in ("", "auto", "standard"):
        return {}
    if re.fullmatch(r"\d{1,6}", text) and "num_inference_steps" not in params:
        return {"num_inference_steps": int(text)}
    warnings.append(f"'quality' has no effect as '{text[:50]}'.")
    return {}


def _response_format(given: str | Mapping[str, Any] | None) -> str:
    """Return how to answer."""
    wanted = given.get("type") if isinstance(given, Mapping) else given
    if wanted in (None, ""):
        return RESPONSE_FORMATS[0]
    if wanted not in RESPONSE_FORMATS:
        raise InvalidParameterError(
            f"'response_format' must be url or b64_json, not {str(wanted)[:50]!r}.",
            parameter="response_format",
            choices=RESPONSE_FORMATS,
        )
    return str(wanted)
