"""Bodies with images, for edits and variations: forms with files, and JSON with URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import is_form, read_json
from octabox.frontends.http.multipart import MASK, read_fields
from octabox.frontends.http.openai.images.schema import ImageRequest, parse_fields
from octabox.frontends.naming.parameters import IMAGES, merge_images
from octabox.types import Source

#: Fields of a JSON body with images, by call parameter.
JSON_MEDIA = {"images": "image", "image": "image", **dict.fromkeys(IMAGES, "image"), "mask": MASK, MASK: MASK}

#: Example of a JSON body, for hints.
EXAMPLE = '{"prompt": "...", "images": [{"image_url": "data:image/png;base64,..."}]}'


async def read_edit(request: Request, max_bytes: int) -> tuple[ImageRequest, dict[str, tuple[Source, ...]]]:
    """Return the fields of a body, and its media by call parameter.

    A JSON body has ``images`` and ``mask`` as OpenAI's API has them: objects with ``image_url``, which is a URL or a data URI.
    A form may have the same in keys such as ``images[0][image_url]``. LocalAI's names of an image stand for it too.

    Raises:
        RequestError: The body is neither a form nor JSON, or a field has an invalid value.
    """
    if is_form(request):
        body, media = await read_fields(request, max_bytes, ImageRequest)
    else:
        body = merge_images(await read_json(request, EXAMPLE, "multipart/form-data or application/json"))
        media = {}
    images = dict(media)
    client_names = {parameter: parameter for parameter in media}
    for name in [each for each in JSON_MEDIA if each in body]:
        parameter, sources = JSON_MEDIA[name], tuple(_sources(name, body.pop(name)))
        if sources and parameter in images:
            message = f"'{name}' and '{client_names[parameter]}' are the same parameter."
            raise InvalidParameterError(message, hint="Send one of them.", parameter=name)
        if sources:
            images[parameter], client_names[parameter] = sources, name
    return parse_fields(body), images


def _sources(name: str, value: Any) -> Iterator[Source]:
    """Yield the images of a field: text, an object with ``image_url``, or a list of those.

    Raises:
        InvalidParameterError: It is something else, such as a ``file_id``: there is no files API.
    """
    for each in value if isinstance(value, list) else [value]:
        source = each.get("image_url") if isinstance(each, dict) else each
        source = source.get("url") if isinstance(source, dict) else source
        if isinstance(source, str) and source:
            yield source
        elif each is not None:
            hint = 'Send {"image_url": URL or data URI}; a `file_id` has no file here.'
            raise InvalidParameterError(f"'{name}' must be an image by 'image_url'.", hint=hint, parameter=name)
