"""Responses of the inference API: the bytes of one output, and errors as the client reads them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from fastapi.responses import Response

from octabox.errors import GatedModelError, GenerationError, ModelNotFoundError, OctaboxError
from octabox.frontends.http.errors import error_body, error_headers, http_error
from octabox.frontends.http.huggingface.translate import ParsedRequest
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.responses import as_base64, header_text, media_headers
from octabox.service.outputs import first_output
from octabox.types import Artifact, Generation

#: The Hub's codes of errors, for which the client has classes.
HUB_CODES: Mapping[type[OctaboxError], str] = {ModelNotFoundError: "RepoNotFound", GatedModelError: "GatedRepo"}

#: Header of a warning that the client logs.
WARNING = "x-hf-warning"

#: Headers of the code and the message of an error, from which the client builds its exception.
ERROR_CODE, ERROR_MESSAGE = "x-error-code", "x-error-message"

#: All headers of these responses.
HEADERS = (WARNING, ERROR_CODE, ERROR_MESSAGE)

#: Tasks whose responses are lists in JSON.
AUDIO_TO_AUDIO = "audio-to-audio"


async def to_response(generation: Generation, parsed: ParsedRequest) -> Response:
    """Return the response for a generation.

    Raises:
        GenerationError: There is no output.
    """
    if not generation.artifacts:
        raise GenerationError("The model generated no output.", model=generation.model)
    kinds = [each.kind for each in generation.artifacts]
    kind = parsed.kind if parsed.kind in kinds else kinds[0]
    output, left_out = first_output(generation.artifacts, kind)
    assert output is not None  # noqa: S101 (there is one of the kind)
    warnings = [*parsed.warnings_of(generation), *left_out]
    response = await _build_response(output, generation.task)
    response.headers.update(media_headers(output, warnings))
    for text in map(header_text, warnings):
        # The client logs one warning for each topic, which ends at the first semicolon.
        response.headers.append(WARNING, f"{zlib.crc32(text.encode()):08x}; {text}")
    return response


async def _build_response(artifact: Artifact, task: str) -> Response:
    """Return the response for an output: the file, or the list that the client reads text and audio of audio from."""
    if artifact.kind == "text":
        return SafeJson([{"generated_text": artifact.content.decode("utf-8", "replace")}])
    if artifact.kind == "audio" and task == AUDIO_TO_AUDIO:
        audio = {"label": artifact.name, "content-type": artifact.media_type, "blob": await as_base64(artifact)}
        return SafeJson([audio])
    return Response(artifact.content, media_type=artifact.media_type)


def error_response(error: OctaboxError) -> Response:
    """Return the response for an error: its text, which the client shows, and the fields of the other APIs."""
    text = str(error)
    headers = error_headers(error)
    if code := next((code for kind, code in HUB_CODES.items() if isinstance(error, kind)), None):
        headers[ERROR_CODE] = code
    if text == header_text(text):
        headers[ERROR_MESSAGE] = text
    fields = {name: value for name, value in error_body(error)["error"].items() if name != "message"}
    return SafeJson({"error": text, **fields}, http_error(error).status, headers)
