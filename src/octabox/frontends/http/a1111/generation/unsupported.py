"""Fields without effect, each with a reason; their neutral values, which many clients always send, need no warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from octabox.frontends.http.a1111.fields import asks_for_something
from octabox.frontends.http.a1111.generation.defaults import infotext_warnings
from octabox.frontends.http.a1111.generation.schema import GenerationBody, TextToImageBody

#: By field: neutral values, and why others have no effect.
UNSUPPORTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "s_min_uncond": ((0,), "no pipeline takes a smallest sigma for the negative prompt"),
    "comments": (({},), "the web UI replaces it by its messages, which are in 'warnings'"),
    "latent_mask": (("",), "the web UI decodes no such image either: send 'mask'"),
}

#: Unknown fields that clients send for other servers, and that need no warning.
FOREIGN = frozenset({"url", "auth", "alwayson_script_args"})


def unsupported_warnings(body: GenerationBody) -> Iterator[str]:
    """Yield a warning for each field without effect, and for what of an infotext has none."""
    for name, (neutral, reason) in UNSUPPORTED.items():
        value = getattr(body, name, None)
        if value is not None and value not in neutral:
            yield f"'{name}' has no effect: {reason}."
    if isinstance(body, TextToImageBody) and body.firstpass_image and not body.enable_hr:
        yield "'firstpass_image' has no effect without 'enable_hr': it takes the place of the first of two passes."
    if not body.script_name and asks_for_something(body.script_args):
        yield "'script_args' has no effect without 'script_name'."
    if body.override_settings and not body.override_settings_restore_afterwards:
        yield "'override_settings_restore_afterwards' has no effect: 'override_settings' apply to this request alone."
    yield from infotext_warnings(body.infotext)
