"""What a workflow changes of the calls themselves: their noise, and the edges of their images."""

from __future__ import annotations

import secrets
from dataclasses import replace

from octabox.engine.protocol import Run
from octabox.noise import InitialNoise, Variation
from octabox.service.planning import MAX_RANDOM_SEED
from octabox.service.workflows.settings import VariationPart, Workflow, parse_workflow
from octabox.types import GenerationRequest


def with_changes(request: GenerationRequest, workflow: Workflow) -> GenerationRequest:
    """Return a request with the variation, the initial noise and the closed axes of its workflow."""
    noise, seamless = workflow.noise, workflow.seamless
    return replace(
        request,
        variation=_variation(workflow.variation) or request.variation,
        noise=InitialNoise(noise.width, noise.height, noise.scale) if noise else request.noise,
        seamless=seamless.axes if seamless else request.seamless,
    )


def with_seeds(request: GenerationRequest, run: Run) -> GenerationRequest:
    """Return a request with the seeds that were drawn at random for its first run, where it states none."""
    drawn, part = run.variation, parse_workflow(request.workflow).variation
    if drawn is not None and part is not None and part.seed is None:
        variation = {"seed": drawn.seed, "strength": drawn.strength}
        request = replace(request, workflow={**request.workflow, "variation": variation})
    return request if request.seed is not None else replace(request, seed=run.seed)


def _variation(part: VariationPart | None) -> Variation | None:
    """Return a variation with its seed, which may be at random; None if there is none."""
    if part is None:
        return None
    return Variation(secrets.randbelow(MAX_RANDOM_SEED) if part.seed is None else part.seed, part.strength)
