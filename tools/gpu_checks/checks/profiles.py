"""Each profile of speed of a model, served."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_checks.bench import Bench
from gpu_checks.checks.modes import serve
from gpu_checks.runner import Row

#: With tiny models: the compiler is left out, since it would take most of the time of all checks.
UNCOMPILED = {"compile_backend": "eager"}


def serve_profile(bench: Bench, model: str, profile: str) -> Iterator[Row]:
    """Serve a model with a profile."""
    settings = {"profile": profile, **(UNCOMPILED if bench.smoke else {})}
    # The second call may still be recorded or tuned.
    yield from serve(bench, model, profile, calls=3, performance=settings)
