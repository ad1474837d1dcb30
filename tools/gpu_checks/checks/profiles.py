"""Each profile of speed of a model, served."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_checks.bench import Bench
from gpu_checks.checks.modes import serve
from gpu_checks.runner import Row

#: With tiny models one profile of one model is compiled, by a backend that makes no code: even tracing takes longer than any
#: other check, in each worker anew.
TRACED = ("sd15", "fast")


def serve_profile(bench: Bench, model: str, profile: str) -> Iterator[Row]:
    """Serve a model with a profile."""
    settings = {"profile": profile}
    if bench.smoke:
        settings |= {"compile_backend": "eager"} if (model, profile) == TRACED else {"compile": "off"}
    # The second call may still be recorded or tuned.
    yield from serve(bench, model, profile, calls=3, performance=settings)
