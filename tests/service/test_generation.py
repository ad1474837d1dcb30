"""The one door, over the local engine and the embedded model."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image

from demo_pictures import Scene, border_colour, centre_colour, draw
from octabox import demo
from octabox.config.settings import Settings
from octabox.engine.local.engine import LocalEngine
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MissingParameterError,
    ModelNotFoundError,
    OctaboxError,
    QueueFullError,
    RequestError,
    ServerStoppingError,
    TaskNotFoundError,
)
from octabox.media.fetcher import Fetcher
from octabox.server import Parts, build
from octabox.service.generation import RequestRunner
from octabox.types import GenerationRequest, OutputFormat, Progress, SchedulerChoice


@pytest.fixture(scope="module")
async def parts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parts]:
    """Return all parts over a models folder with one configuration of the embedded model."""
    folder = tmp_path_factory.mktemp("models")
    config = {"name": "shapes", "model": str(demo.FOLDER), "seed": 5, "scheduler": "euler", "aliases": ["gpt-image-1"]}
    text = yaml.safe_dump({**config, "defaults": {"num_inference_steps": 6, "strength": 0.9}})
    (folder / "shapes.yaml").write_text(text, encoding="utf-8")
    parts = build(Settings.load({"models": folder, "threads": 1, "log_level": "error", "max_outputs": 4}))
    await parts.engine.start([])
    yield parts
    await parts.engine.close()


def request(**options: object) -> GenerationRequest:
    """Return a request for an image; options that are no fields are parameters."""
    names = ("model", "task", "inputs", "seed", "num_outputs", "scheduler", "output", "optional_params")
    fields = {name: options.pop(name) for name in names if name in options}
    params = {"prompt": "a large green circle on a white background", **options}
    return GenerationRequest(**{"model": "demo", "params": params, **fields})  # type: ignore[arg-type]


def png(scene: Scene) -> bytes:
    """Return a scene's image as a file."""
    file = io.BytesIO()
    draw(scene).save(file, "PNG")
    return file.getvalue()


async def test_a_request_gives_the_image_it_describes(parts: Parts) -> None:
    """The defaults of the embedded model make an image of what the words say."""
    generation = await parts.generation.generate(request(seed=3))
    image = Image.open(io.BytesIO(generation.artifacts[0].content))

    assert ("green", "white") == (centre_colour(image), border_colour(image))
    assert "text-to-image" == generation.task


async def test_an_image_chooses_the_sibling(parts: Parts) -> None:
    """A request that brings an image is served by the sibling that takes it, on the same weights."""
    call = await parts.generation.prepare(request(inputs={"image": (png(Scene("star", "red", "white")),)}))

    assert "image-to-image" == call.task
    assert "StableDiffusionPipeline" == call.pipeline != call.runs_as


async def test_an_image_and_a_mask_choose_inpainting(parts: Parts) -> None:
    """A request that brings an image and a mask is inpainting."""
    image = png(Scene("star", "red", "white"))
    call = await parts.generation.prepare(request(inputs={"image": (image,), "mask_image": (image,)}))

    assert "inpainting" == call.task
    (mask,) = call.runs[0].inputs["mask_image"]
    assert isinstance(mask, Image.Image)
    assert "L" == mask.mode


async def test_configured_values_hold_where_a_request_gives_none(parts: Parts) -> None:
    """Defaults, seed and scheduler of a configuration hold, each only for pipelines that take it; a request wins."""
    call = await parts.generation.prepare(request(model="shapes"))
    other = await parts.generation.prepare(request(model="shapes", num_inference_steps=3, seed=9))

    assert (6, 5) == (call.runs[0].params["num_inference_steps"], call.runs[0].seed)
    assert "strength" not in call.runs[0].params
    assert call.scheduler is not None
    assert "EulerDiscreteScheduler" == call.scheduler.name
    assert (3, 9) == (other.runs[0].params["num_inference_steps"], other.runs[0].seed)


async def test_two_names_share_a_process(parts: Parts) -> None:
    """A model under another name has the same configuration and weights."""
    first, second = [await parts.generation.generate(request(model=name)) for name in ("shapes", "gpt-image-1")]

    assert first.artifacts[0].content == second.artifacts[0].content
    assert 1 == sum(status.model in ("shapes", "gpt-image-1") for status in parts.models.status())


async def test_outputs_have_seeds_in_a_row(parts: Parts) -> None:
    """Several outputs have the seed and the next ones, however they were asked for."""
    by_field = await parts.generation.prepare(request(seed=0, num_outputs=3))
    by_parameter = await parts.generation.prepare(request(seed=0, num_images_per_prompt=3))

    assert [0, 1, 2] == [run.seed for run in by_field.runs] == [run.seed for run in by_parameter.runs]


async def test_a_list_of_prompts_is_a_run_for_each(parts: Parts) -> None:
    """Each prompt of a list is a run of its own, with the negative prompt in its place."""
    call = await parts.generation.prepare(
        request(prompt=["a star", "a heart"], negative_prompt=["red", "blue"], seed=1)
    )

    assert [("a star", "red"), ("a heart", "blue")] == [
        (run.params["prompt"], run.params["negative_prompt"]) for run in call.runs
    ]


async def test_a_wish_without_effect_is_a_warning(parts: Parts) -> None:
    """A size that the pipeline cannot honour is a warning, not an error, where it was only a wish."""
    image = png(Scene("star", "red", "white"))
    call = await parts.generation.prepare(
        request(inputs={"image": (image,)}, optional_params={"width": 64, "height": 64})
    )

    assert 2 == len(call.warnings)
    assert "width" in call.warnings[0]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "nobody"}, ModelNotFoundError),
        ({"task": "text-to-video"}, TaskNotFoundError),
        ({"task": "image-to-image"}, MissingParameterError),
        ({"num_outputs": 5}, RequestError),
        ({"num_outputs": 0}, RequestError),
        ({"seed": -1}, RequestError),
        ({"width": 10**6, "height": 10**6}, RequestError),
        ({"output": OutputFormat("gif9")}, RequestError),
        ({"stepz": 1, "guidance_scale": "x"}, InvalidRequestError),
        ({"inputs": {"imagge": (b"",)}}, RequestError),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_loaded(
    parts: Parts, options: dict[str, object], error: type[Exception]
) -> None:
    """A request that cannot be served is refused by the service, with the model still where it was."""
    with pytest.raises(error):
        await parts.generation.prepare(request(**options))


@pytest.mark.parametrize("workflow", [{}, {"hires": {"scale": 2}}, {"outpaint": {}}])
@pytest.mark.parametrize(
    ("model", "refusal"),
    [
        ("shapes", QueueFullError("The queue is full.")),
        ("shapes", ServerStoppingError("The server is being stopped.")),
        ("nothing", ModelNotFoundError("There is no model 'nothing'.")),
    ],
)
async def test_what_is_refused_is_not_prepared(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, model: str, refusal: OctaboxError, workflow: dict[str, object]
) -> None:
    """A request that there is no room for is refused before it is planned, and before its URLs are fetched."""

    def refuse(*_: object, **__: object) -> object:
        raise refusal

    def forbidden(*_: object, **__: object) -> object:
        raise AssertionError("prepared")

    monkeypatch.setattr(LocalEngine, "check_room", refuse)
    monkeypatch.setattr(Fetcher, "fetch", forbidden)
    monkeypatch.setattr(RequestRunner, "resolve", forbidden)
    monkeypatch.setattr(RequestRunner, "prepare", forbidden)
    refused = request(model=model, inputs={"image": ("https://example.com/slow.png",)})
    with pytest.raises(type(refusal)):
        await parts.generation.generate(replace(refused, workflow=workflow))


async def test_a_scheduler_that_cannot_work_is_refused_before_the_queue(parts: Parts) -> None:
    """The configurations of the model and of the scheduler tell, so that nothing is loaded for that."""
    with pytest.raises(
        InvalidParameterError, match="FlowMatchEulerDiscreteScheduler does not fit this model"
    ) as caught:
        await parts.generation.prepare(request(scheduler=SchedulerChoice("FlowMatchEulerDiscreteScheduler")))

    assert "scheduler" == caught.value.parameter
    assert "DDIMScheduler" in caught.value.hint


async def test_a_scheduler_of_a_request_is_resolved(parts: Parts) -> None:
    """An alias of a scheduler becomes its class and settings."""
    call = await parts.generation.prepare(request(scheduler=SchedulerChoice("k_dpmpp_2m")))

    assert call.scheduler is not None
    assert call.scheduler.settings["use_karras_sigmas"] is True


async def test_progress_reaches_the_last_step(parts: Parts) -> None:
    """A stream tells of every step, and ends with the result."""
    events = [event async for event in parts.generation.stream(request(num_inference_steps=3, seed=1))]
    steps = [event.step for event in events if isinstance(event, Progress) and event.step]

    assert [1, 2, 3] == steps


def test_a_new_configuration_is_seen_without_a_restart(parts: Parts, tmp_path: Path) -> None:
    """A model that appears in the folder is listed at the next question."""
    before = {info.name for info in parts.models.snapshot().list()}
    (parts.settings.models / "later.yaml").write_text(f"model: {demo.FOLDER}\n", encoding="utf-8")
    after = {info.name for info in parts.models.snapshot().list()}

    assert {"later"} == after - before
