"""Second passes and enlargements on the embedded model."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from demo_pictures import Scene, border_colour, centre_colour, shape_of
from demo_pictures import draw as image_of
from octabox.errors import InvalidParameterError, ModelNotFoundError, OctaboxError, UnknownParameterError
from octabox.types import OutputFormat, SchedulerChoice
from train_demo_adapters import edges_of
from trained import distance
from workflow_images import Drawing, opened, png

pytestmark = pytest.mark.slow

#: What enlarges without a model, for images and for latents.
UPSCALERS = ["lanczos", "bicubic", "bilinear", "nearest", "latent", "latent-bicubic", "latent-nearest"]


@pytest.mark.parametrize("upscaler", UPSCALERS)
async def test_a_second_pass_paints_at_a_larger_size(draw: Drawing, upscaler: str) -> None:
    """The image is larger, and shows what it did."""
    made = await draw.image({"hires": {"upscaler": upscaler, "scale": 1.5, "strength": 0.6}})

    assert (192, 192) == made.size
    assert ("red", "white") == (centre_colour(made), border_colour(made))
    assert {1, 2} == {each.part for each in draw.progress}
    assert (8, 4) == (draw.steps(1), draw.steps(2))


async def test_a_weak_second_pass_changes_less(draw: Drawing, plain: bytes) -> None:
    """What it makes is the nearer to the plain enlargement the weaker it is."""
    larger = opened(plain).resize((192, 192), Image.Resampling.LANCZOS)
    weak, strong = [
        distance(larger, await draw.image({"hires": {"scale": 1.5, "strength": strength}})) for strength in (0.2, 0.9)
    ]

    assert weak < strong / 2


@pytest.mark.parametrize(("steps", "strength"), [(3, 0.5), (5, 0.7), (12, 1.0)])
async def test_the_second_pass_has_steps_of_its_own(draw: Drawing, steps: int, strength: float) -> None:
    """As many as are asked for, whatever its strength."""
    await draw({"hires": {"scale": 1.25, "steps": steps, "strength": strength}})

    assert (8, steps) == (draw.steps(1), draw.steps(2))


async def test_the_second_pass_can_say_something_else(draw: Drawing) -> None:
    """Its own words, its own scheduler and another model."""
    params = {"prompt": "a blue circle on a white background"}
    other = {"model": "twin", "scheduler": "euler", "params": params, "strength": 1.0, "scale": 1}
    made = await draw.image({"hires": other})

    assert ("blue", "white") == (centre_colour(made), border_colour(made))


async def test_both_passes_have_the_scheduler_of_the_request(draw: Drawing) -> None:
    """What is asked for holds in the second pass too, unless that has its own."""
    euler = SchedulerChoice("euler")
    own, asked, named = [
        await draw.image({"hires": {"scale": 1, **more}}, scheduler=scheduler)
        for scheduler, more in ((None, {}), (euler, {}), (euler, {"scheduler": "euler"}))
    ]

    assert asked.tobytes() == named.tobytes() != own.tobytes()


#: An image that is soon made, for what makes it larger.
SMALL = {"width": 32, "height": 32, "num_inference_steps": 2}


async def test_a_model_enlarges(draw: Drawing) -> None:
    """An upscaler of diffusers makes the image larger; a filter brings it to the size that is asked for."""
    settings = {"upscaler": "larger", "params": {"num_inference_steps": 1}}
    own = await draw({"upscale": settings}, **SMALL)
    fitted = await draw.image({"upscale": {**settings, "scale": 1.5}}, **SMALL)

    assert opened(own.artifacts[0].content).width > 32
    assert (48, 48) == fitted.size
    assert {1, 2} == {each.part for each in draw.progress}
    assert "demo" == own.model


async def test_a_model_enlarges_before_the_second_pass(draw: Drawing) -> None:
    """All three follow on each other."""
    made = await draw.image({"hires": {"upscaler": "larger", "scale": 1.5}}, **SMALL)

    assert (48, 48) == made.size
    assert {1, 2, 3} == {each.part for each in draw.progress}


async def test_a_network_in_a_file_enlarges(draw: Drawing, plain: bytes) -> None:
    """This one repeats each pixel: alone, and brought to another size by a filter."""
    twice = opened(plain).resize((256, 256), Image.Resampling.NEAREST)
    own = await draw.image({"upscale": {"upscaler": "twice", "params": {"tile": 64}}})
    fitted = await draw.image({"upscale": {"upscaler": "twice", "scale": 1.5}})
    painted = await draw.image({"hires": {"upscaler": "twice", "scale": 1.5, "strength": 0.2}})

    assert twice.tobytes() == own.tobytes()
    assert twice.resize((192, 192), Image.Resampling.LANCZOS).tobytes() == fitted.tobytes()
    assert 0 < distance(fitted, painted) < 10


async def test_a_control_image_steers_both_passes(draw: Drawing) -> None:
    """It goes on under the name that the second pass has for it; a model that has none is a warning."""
    edges = {"image": (png(edges_of(image_of(Scene("triangle", "red", "white")))),)}
    hires = {"scale": 1.25, "strength": 1.0}
    words = {"prompt": "a red triangle on a white background", "model": "outlined", "inputs": edges}
    both = await draw({"hires": hires}, **words)
    first = await draw({"hires": {**hires, "model": "demo"}}, **words)
    images = [opened(each.artifacts[0].content) for each in (both, first)]

    assert () == both.warnings
    assert ("The second pass does not use 'image'.",) == first.warnings
    assert "triangle" == shape_of(images[0].resize((128, 128)), "red", "white")
    assert images[0].tobytes() != images[1].tobytes()


async def test_an_image_as_prompt_holds_in_both_passes(draw: Drawing) -> None:
    """It goes along with its strength, and what is painted differs by it."""
    shown = {"ip_adapter_image": (png(image_of(Scene("star", "blue", "white"))),)}
    images = []
    for scale in (0.0, 0.5):
        workflow = {"hires": {"scale": 1, "params": {"ip_adapter_scale": scale}}}
        made = await draw(workflow, model="prompted", inputs=shown, ip_adapter_scale=0.5)
        assert () == made.warnings
        images.append(opened(made.artifacts[0].content).tobytes())
    same = await draw.image({"hires": 1}, model="prompted", inputs=shown, ip_adapter_scale=0.5)

    assert images[0] != images[1] == same.tobytes()


async def test_a_second_pass_over_what_was_inpainted(draw: Drawing, plain: bytes) -> None:
    """The mask is of the first pass alone, and nothing to be warned of."""
    mask = Image.new("L", (128, 128))
    mask.paste(255, (48, 48, 80, 80))
    inputs = {"image": (plain,), "mask_image": (png(mask),)}
    made = await draw({"inpaint": 8, "hires": {"scale": 1.25, "strength": 0.2}}, inputs=inputs)

    assert () == made.warnings
    assert (160, 160) == opened(made.artifacts[0].content).size


async def test_an_enlargement_by_a_filter_is_that_of_the_filter(draw: Drawing, plain: bytes) -> None:
    """Nothing else is done to the image."""
    made = await draw.image({"upscale": {"upscaler": "nearest", "scale": 3}})

    assert opened(plain).resize((384, 384), Image.Resampling.NEAREST).tobytes() == made.tobytes()


@pytest.mark.parametrize(
    ("size", "expected"),
    [({"width": 160}, (160, 160)), ({"width": 200, "height": 160}, (200, 160)), ({"scale": 0.5}, (64, 64))],
)
async def test_sizes(draw: Drawing, size: dict[str, Any], expected: tuple[int, int]) -> None:
    """One side takes the other along, and an image may become smaller."""
    made = await draw.image({"upscale": {"upscaler": "bicubic", **size}})

    assert expected == made.size


async def test_several_outputs_each_go_all_the_way(draw: Drawing) -> None:
    """Each has its own seed, and is what it would be alone."""
    workflow = {"hires": {"scale": 1.25}, "upscale": 2}
    both = await draw(workflow, num_outputs=2, deterministic=True)
    alone = await draw(workflow, seed=2, deterministic=True)

    assert [1, 2] == [each.seed for each in both.artifacts]
    assert alone.artifacts[0].content == both.artifacts[1].content


async def test_variations_of_one_image(draw: Drawing, plain: bytes) -> None:
    """They share its seed and are near to it; without any of the other seed it is the image itself."""
    made = await draw({"variation": {"seed": 70, "strength": 0.1}}, num_outputs=2)
    images = [opened(each.content) for each in made.artifacts]
    other = opened((await draw(seed=70)).artifacts[0].content)

    assert [(1, 70), (1, 71)] == [(each.seed, each.metadata["variation"]["seed"]) for each in made.artifacts]
    assert 0 < distance(opened(plain), images[0]) < distance(opened(plain), other)
    assert images[0].tobytes() != images[1].tobytes()
    assert other.tobytes() == (await draw.image({"variation": {"seed": 70, "strength": 1}})).tobytes()


async def test_a_variation_by_lot_tells_its_seed(draw: Drawing) -> None:
    """So it can be made again, with what comes after it."""
    first = await draw({"variation": 0.3, "upscale": 2})
    facts = first.artifacts[0].metadata
    again = await draw({"variation": facts["variation"], **facts["workflow"]})

    assert first.artifacts[0].content == again.artifacts[0].content


@pytest.mark.parametrize("name", ["jpeg", "webp"])
async def test_the_last_image_has_the_format(draw: Drawing, name: str) -> None:
    """What passes between is lossless, and what comes out is as it was asked for."""
    made = await draw({"upscale": 1.5}, output=OutputFormat(name, 80))

    assert f"image/{name}" == made.artifacts[0].media_type
    assert f"{name.upper()}" == Image.open(io.BytesIO(made.artifacts[0].content)).format


@pytest.mark.parametrize(
    ("workflow", "options", "parameter", "error"),
    [
        ({"hires": {"upscaler": "lanczoss"}}, {}, "workflow.hires.upscaler", InvalidParameterError),
        ({"upscale": {"upscaler": "latent"}}, {}, "workflow.upscale.upscaler", InvalidParameterError),
        ({"upscale": {"upscaler": "demo"}}, {}, "workflow.upscale.upscaler", InvalidParameterError),
        ({"hires": {"model": "nowhere"}}, {}, None, ModelNotFoundError),
        ({"hires": {"model": "alone"}}, {}, "workflow.hires", InvalidParameterError),
        ({"hires": {"scheduler": "eulr"}}, {}, "scheduler", OctaboxError),
        ({"hires": {"params": {"guidanze": 3}}}, {}, "guidanze", UnknownParameterError),
        ({"upscale": 16}, {"width": 512, "height": 512}, "workflow.upscale.scale", InvalidParameterError),
        ({"hires": {"width": 4096, "height": 4096}}, {}, "workflow.hires.width", InvalidParameterError),
        ({"hires": {"upscaler": "latent", "width": 256}}, {}, "workflow.hires.width", InvalidParameterError),
        ({"hires": {"upscaler": "latent", "scale": 16}}, {}, "workflow.hires.scale", InvalidParameterError),
        ({"hires": {"upscaler": "larger", "scale": 16}}, {}, "workflow.hires.scale", InvalidParameterError),
        ({"hires": 4, "upscale": 4}, {}, "workflow.upscale.scale", InvalidParameterError),
        ({"hires": {"upscaler": "latent", "scale": 0.001}}, {}, "workflow.hires.scale", InvalidParameterError),
        ({"hires": {"upscaler": "latent", "scale": 0.02}}, {}, "workflow.hires.scale", InvalidParameterError),
        ({"hires": 0.02}, {}, "workflow.hires.scale", InvalidParameterError),
        ({"upscale": 0.02}, {"width": 256, "height": 256}, "workflow.upscale.scale", InvalidParameterError),
        ({"upscale": {"width": 8}}, {"width": 256, "height": 64}, "workflow.upscale.width", InvalidParameterError),
        ({"upscale": 2}, {"output": OutputFormat("mp4")}, "output_format", InvalidParameterError),
        ({"upscale": 2}, {"model": "clips"}, "workflow", InvalidParameterError),
    ],
)
async def test_what_cannot_be_done_is_said_before_anything_runs(
    draw: Drawing, workflow: dict[str, Any], options: dict[str, Any], parameter: str | None, error: type[OctaboxError]
) -> None:
    """The error names the setting, and no image is made in vain."""
    with pytest.raises(error) as caught:
        await draw(workflow, **options)

    assert parameter == caught.value.parameter
    assert [] == draw.progress


@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
async def test_a_second_pass_over_an_input_image_is_not_too_large(draw: Drawing, plain: bytes, upscaler: str) -> None:
    """Its size is known once the first pass is done: the second one does not begin."""
    with pytest.raises(InvalidParameterError) as caught:
        await draw({"hires": {"upscaler": upscaler, "scale": 12}}, inputs={"image": (plain,)}, strength=0.2)

    assert "workflow.hires.scale" == caught.value.parameter
    assert "1536x1536" in str(caught.value)
    assert {1} == {each.part for each in draw.progress}


@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
async def test_a_second_pass_over_an_input_image_is_not_too_small(draw: Drawing, plain: bytes, upscaler: str) -> None:
    """However small it would be, it has a size that the model can paint."""
    made = await draw.image({"hires": {"upscaler": upscaler, "scale": 0.02}}, inputs={"image": (plain,)}, strength=0.2)

    assert (8, 8) == made.size


async def test_the_shape_of_an_image_counts(draw: Drawing) -> None:
    """A long one may become longer than a square one of the same width could."""
    made = await draw.image(
        {"hires": {"width": 2048, "strength": 0.1, "steps": 1}}, width=512, height=128, num_inference_steps=1
    )

    assert (2048, 512) == made.size


async def test_a_misspelt_upscaler_names_those_there_are(draw: Drawing) -> None:
    """Filters and models that take an image."""
    with pytest.raises(InvalidParameterError) as caught:
        await draw({"hires": {"upscaler": "zzz"}})

    assert {"lanczos", "latent", "larger"} <= set(caught.value.choices)
    assert "demo" not in caught.value.choices


async def test_closed_axes(draw: Drawing, plain: bytes) -> None:
    """Another image than the plain one, also in a batch and in the second pass; the next request is as it was."""
    made = await draw({"seamless": True}, num_outputs=2)
    again = await draw({"seamless": made.artifacts[0].metadata["seamless"]}, seed=2, deterministic=True)
    second = await draw({"seamless": {"axes": "x"}, "hires": 1})
    after = await draw.image()

    assert {"axes": "xy"} == made.artifacts[1].metadata["seamless"]
    assert distance(opened(made.artifacts[1].content), opened(again.artifacts[0].content)) < 1
    assert {"axes": "x"} == second.artifacts[0].metadata["seamless"]
    assert distance(opened(plain), opened(made.artifacts[0].content)) > 5
    assert opened(plain).tobytes() == after.tobytes()


async def test_noise_of_another_size(draw: Drawing, plain: bytes) -> None:
    """A wider image shows in its centre what the seed shows at its size, unlike without."""
    # Without a prompt the noise alone decides what there is.
    free: dict[str, Any] = {"prompt": "", "guidance_scale": 1.0}
    small = await draw.image(**free)
    placed = await draw.image({"noise": {"width": 128, "height": 128}}, **free, width=160, height=128)
    bare = await draw.image(**free, width=160, height=128)
    scaled = await draw({"noise": 0.5})
    distances = [distance(small, each.crop((16, 0, 144, 128))) for each in (placed, bare)]

    assert 5 * distances[0] < distances[1]
    assert {"scale": 0.5} == scaled.artifacts[0].metadata["noise"]
    assert scaled.artifacts[0].content != plain
