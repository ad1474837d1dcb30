"""Workflows as they run: what they tell, what is written into their images, and how they end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from octabox.errors import LoadError, QueueFullError
from octabox.media.metadata.chunks import read_metadata
from octabox.noise import Variation
from octabox.server import Parts
from octabox.types import AdapterChoice, Generation, Progress, SchedulerChoice
from workflow_images import PROMPT, Drawing, opened

#: Two passes and an enlargement.
WORKFLOW = {"hires": {"scale": 1.25}, "upscale": {"upscaler": "nearest", "scale": 2}}


@pytest.mark.slow
async def test_an_image_tells_all_that_it_was_made_from(draw: Drawing) -> None:
    """Its metadata are those of the first pass, with the workflow and the size that it has."""
    generation = await draw(WORKFLOW, seed=5)
    (artifact,) = generation.artifacts
    facts = read_metadata(artifact.content)

    assert facts == artifact.metadata
    assert (PROMPT, 5, "text-to-image") == (facts["params"]["prompt"], facts["seed"], facts["task"])
    assert {"upscaler": "lanczos", "scale": 1.25, "strength": 0.5} == facts["workflow"]["hires"]
    assert {"width": 320, "height": 320} == facts["size"]
    assert ("demo", "StableDiffusionPipeline") == (generation.model, generation.pipeline)


async def test_the_parts_are_told(draw: Drawing) -> None:
    """Each part counts its own steps, over all its images, and the last is told to be written."""
    await draw(WORKFLOW, num_outputs=2)
    told = [(each.part, each.step, each.steps) for each in draw.progress if each.phase == "running"]

    assert {2} == {each.parts for each in draw.progress}
    assert sorted(told) == told
    assert {1: 16, 2: 8} == {part: steps for part, _, steps in told}
    assert "encoding" == draw.progress[-1].phase


async def test_the_result_has_the_time_of_all_parts(draw: Drawing) -> None:
    """A second pass takes time too."""
    once = await draw()
    both = await draw({"hires": {"scale": 1, "strength": 1.0}})

    assert both.timings["run"] > once.timings["run"]
    assert {"queue", "run"} <= set(both.timings)


@pytest.mark.parametrize(
    "workflow",
    [
        {},
        {"variation": True},
        {"variation": 0.6},
        {"variation": {"strength": 0.6, "seed": 5}, "upscale": 2},
        {"variation": 0.6, "hires": 1},
    ],
)
async def test_a_validated_request_has_the_same_images_whenever_it_runs(
    draw: Drawing, workflow: dict[str, Any]
) -> None:
    """Nothing of it is drawn at random again: the seeds, the noise of a variation, and the choices in its prompt."""
    service, request = draw.parts.generation, draw.request(workflow, seed=None, num_outputs=2, num_inference_steps=2)
    prompt = "a {red|blue|green|yellow} {circle|star|square} on a white background"
    asked = replace(request, params={**request.params, "prompt": prompt}, deterministic=True)
    checked = [await service.validate(asked) for _ in range(2)]
    again = await service.validate(checked[0])
    made = [await service.generate(each) for each in (checked[0], again)]

    assert checked[0] == again
    assert checked[0].seed != checked[1].seed
    assert [each.content for each in made[0].artifacts] == [each.content for each in made[1].artifacts]


async def test_without_a_workflow_nothing_differs(draw: Drawing, plain: bytes) -> None:
    """A request that asks for none passes through, and one whose parts are all empty likewise."""
    generation = await draw({"hires": None})

    assert plain == generation.artifacts[0].content


async def test_a_variation_is_a_request_like_others(draw: Drawing) -> None:
    """It can be asked for without a workflow too."""
    request = replace(draw.request(), variation=Variation(70, 0.5))
    alone = await draw.parts.generation.generate(request)

    assert (await draw({"variation": {"seed": 70, "strength": 0.5}})).artifacts[0].content == alone.artifacts[0].content


@pytest.mark.parametrize("workflow", [{}, {"upscale": {"upscaler": "nearest", "scale": 2}}])
async def test_results_one_by_one(draw: Drawing, workflow: dict[str, object]) -> None:
    """Each run has its own result, the very one that it has among all."""
    request = draw.request(workflow, num_outputs=2, seed=7, deterministic=True)
    together = await draw.parts.generation.generate(request)
    events = [event async for event in draw.parts.generation.stream_each(request)]
    results = [event for event in events if isinstance(event, Generation)]

    assert events[-1] is results[1]
    assert [7, 8] == [each.artifacts[0].seed for each in results]
    assert [each.content for each in together.artifacts] == [each.artifacts[0].content for each in results]


@pytest.mark.parametrize("part", [1, 2])
async def test_a_cancelled_workflow_leaves_nothing_behind(draw: Drawing, plain: bytes, part: int) -> None:
    """Whichever part runs: it ends at once, and the next request is served as ever."""
    stream = draw.parts.generation.stream(draw.request({"hires": {"scale": 2, "strength": 1.0, "steps": 100}}))
    async with aclosing(stream) as events:
        async for event in events:
            assert isinstance(event, Progress)
            if (event.part, event.phase) == (part, "running"):
                break
    generation = await asyncio.wait_for(draw.parts.generation.generate(draw.request()), 20)

    assert plain == generation.artifacts[0].content


async def test_an_error_in_a_later_part_harms_nothing(draw: Drawing, plain: bytes) -> None:
    """A second pass that fails is an error of the whole, and the next request is served as ever."""
    with pytest.raises(LoadError, match="broken"):
        await draw({"hires": {"model": "broken"}})
    again = await draw()

    assert plain == again.artifacts[0].content


async def test_a_full_queue_loses_nothing(draw: Drawing, parts: Parts) -> None:
    """What waits for its second pass gets it, however many come in between."""
    request = draw.request({"hires": {"scale": 1, "strength": 1.0, "steps": 2}}, num_inference_steps=20)
    others: list[asyncio.Task[Generation]] = []
    async with aclosing(parts.generation.stream(request)) as events:
        async for event in events:
            if not others and isinstance(event, Progress) and event.phase == "running":
                quick = [draw.request(num_inference_steps=2) for _ in range(8)]
                others = [asyncio.create_task(parts.generation.generate(each)) for each in quick]
            last = event
    results = await asyncio.gather(*others, return_exceptions=True)

    assert any(isinstance(each, QueueFullError) for each in results)
    assert isinstance(last, Generation)
    assert 1 == len(last.artifacts)


async def test_what_another_model_does_not_take_is_said(draw: Drawing) -> None:
    """LoRAs and the scheduler belong to the model of the request."""
    options = {"adapters": (AdapterChoice("hearts"),), "scheduler": SchedulerChoice("euler")}
    alone = await draw({"hires": {"scale": 1}}, **options)
    other = await draw({"hires": {"scale": 1, "model": "twin"}}, **options)

    assert () == alone.warnings
    assert ["LoRAs", "scheduler"] == [word for word in ("LoRAs", "scheduler") if word in " ".join(other.warnings)]


async def test_adapters_hold_in_both_passes(draw: Drawing) -> None:
    """A LoRA that turns circles into hearts does so where the second pass begins anew too, and is gone afterwards."""
    generation = await draw({"hires": {"scale": 1, "strength": 1.0}}, adapters=(AdapterChoice("hearts"),))
    plain = await draw({"hires": {"scale": 1, "strength": 1.0}})

    assert ["hearts"] == [each.lora for each in generation.adapters]
    assert () == plain.adapters
    assert opened(generation.artifacts[0].content).tobytes() != opened(plain.artifacts[0].content).tobytes()


async def test_all_outputs_come_in_one_result(draw: Drawing) -> None:
    """A list of prompts goes all the way, each with its own words."""
    prompts = ["a red circle on a white background", "a blue circle on a white background"]
    generation = await draw(WORKFLOW, prompt=prompts)
    results = [
        event async for event in draw.parts.generation.stream(draw.request(WORKFLOW)) if isinstance(event, Generation)
    ]

    assert prompts == [each.metadata["params"]["prompt"] for each in generation.artifacts]
    assert 1 == len(results)
