"""The script X/Y/Z plot: its values, and its grid."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from fakes import Server
from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.plots.plot import Axis, Plot, draw_grid, parse_plot
from octabox.frontends.http.a1111.generation.schema import TextToImageBody


def plot(*args: Any) -> Plot:
    """Return the plot of arguments."""
    return parse_plot(TextToImageBody.model_validate({"prompt": "a, b", "script_args": list(args)}))


def test_axes_by_number_and_name() -> None:
    """Values may be text in quotation marks, or a list."""
    found = plot(4, "2,4", [], "sampler", "", ["Euler", "DDIM"], "Prompt S/R", '"a, b", c', [])

    assert ["Steps", "Sampler", "Prompt S/R"] == [axis.name for axis in found.axes]
    assert [("2", "Euler", "a, b"), ("4", "Euler", "a, b")] == found.cells()[:2]


@pytest.mark.parametrize(
    "args", [("Colour", "1"), ("Steps", "many"), ("Steps", "1-200"), (99, "1"), ("Prompt S/R", "star, moon")]
)
def test_bad_arguments(args: tuple[Any, ...]) -> None:
    """Each is an error of the request."""
    with pytest.raises(InvalidParameterError):
        plot(*args)


AXES: tuple[Any, ...] = ("Steps", "1,2", [], "Seed", "3", [], "Nothing", "", [])


def test_flags_may_be_text() -> None:
    """As some clients send them; an empty one is the default."""
    found = plot(*AXES, "False", "true", 0, 1, "0", "FALSE", "", "5", None).flags

    assert (False, True, False, True) == tuple(found.values())[:4]
    assert (False, False, False, 5, False) == tuple(found.values())[4:]


@pytest.mark.parametrize("flag", ["maybe", 2, [True]])
def test_another_text_is_no_flag(flag: Any) -> None:
    """The error names it."""
    with pytest.raises(InvalidParameterError, match=r"script_args\.include_lone_images"):
        plot(*AXES, True, flag)


@pytest.mark.parametrize(
    "args",
    [
        ("Steps", "1,2", "Seed", "3", "Nothing", "", False, True, False, True, 7),
        (4, "1,2", 1, "3", 0, "", "false", "True", "false", "true", "7"),
        (*AXES, False, True, False, True, 7),
        (*AXES, False, True, False, True, 7, True),
        (*AXES, False, True, False, True, False, False, False, 7, True),
    ],
)
def test_forms_of_older_versions(args: tuple[Any, ...]) -> None:
    """Axes without a list of values, and flags without those that vary seeds."""
    found = plot(*args)

    assert [("Steps", ("1", "2")), ("Seed", ("3",)), ("Nothing", ("",))] == [
        (each.name, each.values) for each in found.axes
    ]
    assert (False, True, False, True, 7) == tuple(
        found.flags[name]
        for name in ("draw_legend", "include_lone_images", "include_sub_grids", "no_fixed_seeds", "margin_size")
    )
    assert not any(found.flags[f"vary_seeds_{axis}"] for axis in "xyz")


def test_grid() -> None:
    """Rows are y, columns x, with room for the legend."""
    axes = (Axis("Steps", ("1", "2")), Axis("Seed", ("1", "2", "3")), Axis("Nothing"))
    images = [Image.new("RGB", (10, 20), "red")] * 6

    assert (20, 60) == draw_grid(Plot(axes, {"draw_legend": False}), images).size
    assert (140, 76) == draw_grid(Plot(axes, {"draw_legend": True}), images).size
    assert (23, 66) == draw_grid(Plot(axes, {"draw_legend": False, "margin_size": 3}), images).size


def test_a_search_may_be_for_what_another_axis_puts_there() -> None:
    """The prompt has it in some combinations."""
    found = plot("Prompt S/R", "a, star", [], "Prompt S/R", "star, moon", [])

    assert ("star", "moon") == found.axes[1].values


async def test_a_skipped_image_leaves_its_place_blank() -> None:
    """The others are at the places of their values."""
    axes = (Axis("Steps", ("1", "2")), Axis("Seed", ("1", "2")), Axis("Nothing"))
    images = [Image.new("RGB", (2, 2), "red"), None, Image.new("RGB", (2, 2), "lime"), None]
    grid = draw_grid(Plot(axes, {"draw_legend": False}), images)
    colours = [grid.getpixel(place) for place in ((0, 0), (2, 0), (0, 2), (2, 2))]
    server = Server()
    server.generations.hang = True
    body = {
        "prompt": "x",
        "seed": 9,
        "script_name": "X/Y/Z plot",
        "script_args": ["Seed", "70,90", [], *[""] * 6, False],
    }
    running = asyncio.create_task(server.http.post("/sdapi/v1/txt2img", json=body))
    await asyncio.wait_for(server.generations.begun.wait(), 30)
    server.generations.hang = False
    await server.http.post("/sdapi/v1/skip")
    answer = (await asyncio.wait_for(running, 30)).json()
    plotted = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))

    assert [(255, 0, 0), (255, 255, 255), (0, 255, 0), (255, 255, 255)] == colours
    assert [(255, 255, 255), (90, 0, 0)] == [plotted.getpixel((side, 8)) for side in (8, 24)]


async def test_seeds_at_random_are_the_same_for_all() -> None:
    """That of the variation too, and those of an axis; a flag turns it off."""
    server = Server()
    axes = ["Var. strength", "0.1,0.2", [], *[""] * 6]
    for args in (axes, [*axes, True, False, False, True]):
        body = {"prompt": "x", "script_name": "X/Y/Z plot", "script_args": args}
        await server.http.post("/sdapi/v1/txt2img", json=body)
    varied = [(each.seed, each.variation and each.variation.seed) for each in server.generations.requests]
    columns = plot("Seed", "-1,5", [], "Steps", "1,2", []).axes[0].values

    assert varied[0] == varied[1]
    assert varied[2] != varied[3]
    assert "-1" not in columns
    assert "5" == columns[1]


async def test_a_plot_over_fakes() -> None:
    """The first image is the grid; the seed is one for all, and each image has its values."""
    server = Server()
    args = ["Steps", "2,3", [], "Prompt S/R", "a,b", [], "Checkpoint name", "demo,org/painter", []]
    answer = await server.http.post(
        "/sdapi/v1/txt2img", json={"prompt": "a star", "script_name": "X/Y/Z plot", "script_args": args}
    )
    info, requests = json.loads(answer.json()["info"]), server.generations.requests

    assert (1, 1, 1) == (len(answer.json()["images"]), info["index_of_first_image"], len(info["infotexts"]))
    assert 1 == len({each.seed for each in requests})
    assert [2, 3] == [each.optional_params["num_inference_steps"] for each in requests[:2]]
    assert {"a star", "b stbr"} == {each.params["prompt"] for each in requests}
    assert ["demo"] * 4 + ["org/painter"] * 4 == [each.model for each in requests]
    assert "X/Y/Z plot" == info["extra_generation_params"]["Script"]


@pytest.mark.parametrize(
    ("flags", "images", "first"),
    [
        ((True, False, False), 1, 1),
        ((True, True, False), 9, 1),
        ((True, False, True), 3, 3),
        ((True, True, True), 11, 3),
    ],
)
async def test_images_of_a_plot(flags: tuple[bool, ...], images: int, first: int) -> None:
    """The grid, then that of each value of z, then each image alone, as the arguments have it; each has its infotext."""
    args = ["Steps", "2,3", [], "CFG Scale", "1,2", [], "Prompt S/R", "x,y", [], *flags]
    body = {"prompt": "x", "script_name": "X/Y/Z plot", "script_args": args}
    answer = (await Server().http.post("/sdapi/v1/txt2img", json=body)).json()
    info = json.loads(answer["info"])

    assert (images, images, first) == (len(answer["images"]), len(info["infotexts"]), info["index_of_first_image"])


async def test_seeds_of_axes() -> None:
    """An axis may have its own seed for each value; those of two axes differ."""
    server = Server()
    axes = ["Steps", "2,3", [], "CFG Scale", "1,2,3", [], "Nothing", "", []]
    for flags in ([True, False, False], [True, True, False]):
        args = [*axes, True, False, False, False, *flags]
        body = {"prompt": "x", "seed": 5, "script_name": "X/Y/Z plot", "script_args": args}
        await server.http.post("/sdapi/v1/txt2img", json=body)

    assert [5, 6] * 3 == [each.seed for each in server.generations.requests[:6]]
    assert [5, 6, 7, 8, 9, 10] == [each.seed for each in server.generations.requests[6:]]


async def test_axes_of_prompts_and_options() -> None:
    """Parts of a prompt in all orders, the VAE, and the model for faces."""
    server = Server()
    server.add("GFPGANv1.4", "FaceRestorationPipeline")
    args = ["Prompt order", "red, star", [], "VAE", "", ["Automatic", "nothere"], "Face restore", "false,gfpgan", []]
    settings = {"sd_model_checkpoint": "demo"}
    body = {"prompt": "a red old star", "override_settings": settings, "script_name": "X/Y/Z plot", "script_args": args}
    answer = (await server.http.post("/sdapi/v1/txt2img", json=body)).json()
    requests = server.generations.requests

    assert ["a red old star", "a star old red"] * 4 == [each.params["prompt"] for each in requests]
    assert [False] * 4 + [True] * 4 == ["faces" in each.workflow for each in requests]
    assert "GFPGANv1.4" == requests[-1].workflow["faces"]["model"]
    assert 1 == len([each for each in answer["warnings"] if "'sd_vae' 'nothere'" in each])


async def test_axes_of_steps_and_refiners() -> None:
    """They set the fields of the same names."""
    server = Server()
    args = ["Sigma Churn", "1,2", [], "Sigma noise", "1.1", [], "Refiner switch at", "0.5", []]
    body = {"prompt": "x", "sampler_name": "Euler", "refiner_checkpoint": "org/painter"}
    answer = await server.http.post(
        "/sdapi/v1/txt2img", json={**body, "script_name": "X/Y/Z plot", "script_args": args}
    )
    requests = server.generations.requests
    settings = [each.scheduler.settings for each in requests if each.scheduler]

    assert answer.is_success
    assert [1, 2] == [each["s_churn"] for each in settings]
    assert {1.1} == {each["s_noise"] for each in settings}
    assert {0.5} == {each.workflow["refiner"]["switch_at"] for each in requests}
