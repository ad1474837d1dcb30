"""What a workflow changes of the calls themselves is in the request; the rest of the request is kept."""

from __future__ import annotations

from octabox.noise import InitialNoise, Variation
from octabox.service.workflows.changes import with_changes
from octabox.service.workflows.settings import parse_workflow
from octabox.types import GenerationRequest

REQUEST = GenerationRequest("demo", variation=Variation(1, 0.5), noise=InitialNoise(scale=0.5), seamless="x")


def test_parts_replace_what_the_request_has() -> None:
    """Noise, closed axes, and a variation whose seed is at random if it has none."""
    workflow = {"noise": {"width": 64, "height": 32}, "seamless": True, "variation": {"seed": 7, "strength": 0.25}}
    changed = with_changes(REQUEST, parse_workflow(workflow))
    seeds = {with_changes(REQUEST, parse_workflow({"variation": 0.1})).variation for _ in range(2)}

    assert (InitialNoise(64, 32), "xy", Variation(7, 0.25)) == (changed.noise, changed.seamless, changed.variation)
    assert 2 == len(seeds)


def test_a_workflow_without_them_keeps_those_of_the_request() -> None:
    """A frontend may have set them."""
    assert REQUEST == with_changes(REQUEST, parse_workflow({"upscale": 2}))
