"""Each profile of speed of a model, served."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_checks.bench import Bench
from gpu_checks.checks.modes import serve
from gpu_checks.runner import CheckSkippedError, Row
from octabox.config.model import ModelConfig

#: Key of a model's configuration that names one.
KEY = "performance"

#: With tiny models: the compiler is left out, since it would take most of the time of all checks.
UNCOMPILED = {"compile_backend": "eager"}


def serve_profile(bench: Bench, model: str, profile: str) -> Iterator[Row]:
    """Serve a model with a profile.

    Raises:
        CheckSkippedError: This Octabox has no profiles.
    """
    if KEY not in ModelConfig.model_fields:
        raise CheckSkippedError(f"this Octabox has no key `{KEY}`")
    settings = {"profile": profile, **(UNCOMPILED if bench.smoke else {})}
    # The second call may still be recorded or tuned.
    yield from serve(bench, model, profile, calls=3, **{KEY: settings})
