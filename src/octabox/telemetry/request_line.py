"""A line of the log for each request that has made something."""

from __future__ import annotations

from octabox.types import Generation

#: Call parameter with the number of denoising steps.
STEPS = "num_inference_steps"

#: Key of the metadata for the stages of a cascade, and of a workflow for what a request sets for them.
STAGES = "stages"

#: Speed above which its decimals are of no use, in steps per second.
FAST = 10


def describe_generation(generation: Generation, client: str = "", seconds: float | None = None) -> str:
    """Return a line about a result: client, model, pipeline, size, steps, seeds, time, speed and warnings.

    Args:
        generation: The result.
        client: Name of the client.
        seconds: Seconds from the request to the result; None is the sum of its phases.
    """
    sizes = dict.fromkeys(
        f"{size['width']}x{size['height']}" for each in generation.artifacts if (size := each.metadata.get("size"))
    )
    seeds = [str(each.seed) for each in generation.artifacts if each.seed is not None]
    parts = [
        f"{generation.pipeline} made {len(generation.artifacts)}",
        *sizes,
        f"{steps} steps" if (steps := _steps(generation)) else "",
        f"seed {', '.join(dict.fromkeys(seeds))}" if seeds else "",
        f"{sum(generation.timings.values()) if seconds is None else seconds:.1f} s",
        speed(generation),
        f"client {client}" if client else "",
        *(f"warning: {warning}" for warning in generation.warnings),
    ]
    return f"{generation.model}: {', '.join(filter(None, parts))}"


def speed(generation: Generation) -> str:
    """Return the denoising steps per second of a result as text; empty if they are not known, such as those of a workflow."""
    seconds, steps = generation.timings.get("run", 0.0), _steps(generation)
    if not (seconds and steps) or any(
        each.metadata.get("workflow", {}).keys() - {STAGES} for each in generation.artifacts
    ):
        return ""
    rate = steps / seconds
    return f"{rate:.0f} it/s" if rate >= FAST else f"{rate:.2g} it/s"


def _steps(generation: Generation) -> int:
    """Return the denoising steps over all outputs and all stages of a cascade; 0 if they are not known."""
    calls = [call for each in generation.artifacts for call in each.metadata.get(STAGES) or (each.metadata,)]
    counts = [call.get("params", {}).get(STEPS) for call in calls]
    return sum(count for count in counts if isinstance(count, int))
