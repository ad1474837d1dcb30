"""The passes in which a unit has an effect."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from a1111_bodies import IMAGE, sent
from fakes import Server, sample_image
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError, RequestError
from octabox.frontends.http.a1111.controlnet.units import Pass, Unit, parse_units
from octabox.frontends.http.a1111.images import CROP, FILL, STRETCH
from octabox.media.images import encode_png
from octabox.media.metadata.infotext import split_infotext

SCALE = "controlnet_conditioning_scale"

#: Colours and sizes of source images.
SOURCES = (("red", (16, 8)), ("blue", (8, 24)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server of a model with a ControlNet."""
    server = Server()
    resolve = server.models.resolve

    def resolved(name: str) -> Any:
        served = resolve(name)
        fields = {**served.config.model_dump(), "components": {"controlnet": {"model": "nets/edges"}}}
        return replace(served, config=ModelConfig.model_validate(fields))

    monkeypatch.setattr(server.models, "resolve", resolved)
    return server


@pytest.mark.parametrize(
    ("option", "weights"),
    [
        ("Both", (0.7, 0.7)),
        ("", (0.7, 0.7)),
        ("Low res only", (0.7, 0)),
        ("HiResFixOption.LOW_RES_ONLY", (0.7, 0)),
        ("High res only", (0, 0.7)),
        (2, (0, 0.7)),
    ],
)
def test_weights(option: str | int, weights: tuple[float, float]) -> None:
    """A pass without the control has a weight of 0."""
    unit = Unit.model_validate({"weight": 0.7, "hr_option": option})

    assert weights == tuple(unit.in_pass(each).weight for each in Pass)


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("Just Resize", STRETCH),
        ("ResizeMode.RESIZE", STRETCH),
        ("Crop and Resize", CROP),
        ("ResizeMode.INNER_FIT", CROP),
        ("Inner Fit (Scale to Fit)", CROP),
        ("Scale to Fit (Inner Fit)", CROP),
        ("Resize and Fill", FILL),
        ("ResizeMode.OUTER_FIT", FILL),
        ("Outer Fit (Shrink to Fit)", FILL),
        ("Envelope (Outer Fit)", FILL),
        ("2", FILL),
        (2, FILL),
    ],
)
def test_names_of_resize_modes(mode: str | int, number: int) -> None:
    """Those of all versions of the extension, and of the members of its class."""
    assert number == Unit.model_validate({"resize_mode": mode}).resize_number


@pytest.mark.parametrize(
    ("mode", "number"), [("ControlMode.BALANCED", 0), ("ControlMode.PROMPT", 1), ("ControlMode.CONTROL", 2), ("2", 2)]
)
def test_names_of_control_modes(mode: str, number: int) -> None:
    """Those of the members of the extension's class too."""
    assert number == Unit.model_validate({"control_mode": mode}).mode


@pytest.mark.parametrize(
    "args", [[{"weight": 2}], {"weight": 2}, {"0": {"weight": 2}}, [False, None, {"weight": 2}], None]
)
def test_forms_of_units(args: Any) -> None:
    """A list, one unit, an object of units, and the flags that older clients send before them."""
    units, warnings = parse_units({"ControlNet": {"args": args}})
    bare, _ = parse_units({"controlnet": {"weight": 2}})

    assert [2.0] * (args is not None) == [each.weight for each in units]
    assert [2.0] == [each.weight for each in bare]
    assert () == warnings


@pytest.mark.parametrize("args", ["image", ["image"], [[{}]], 5, {"weight": "heavy"}])
def test_what_is_no_unit(args: Any) -> None:
    """It is an error, in place of an image without the control."""
    with pytest.raises(RequestError):
        parse_units({"ControlNet": {"args": args}, "other": {"args": []}})


def test_the_mask_of_an_image() -> None:
    """It is that of the unit."""
    units, warnings = parse_units({"ControlNet": {"args": [{"image": {"image": "a", "mask": "b"}}]}})

    assert ("a", "b", ()) == (units[0].source, units[0].mask, warnings)


@pytest.mark.parametrize(
    ("drawing", "is_used"), [("line", True), ("black", False), ("white", False), ("nearly black", False)]
)
@pytest.mark.parametrize("is_in_image", [True, False])
async def test_lines_on_a_mask_are_the_control_image(
    server: Server, drawing: str, *, is_used: bool, is_in_image: bool
) -> None:
    """They are not preprocessed; a mask with nothing drawn on it is none, and no mask is dropped without a warning."""
    mask = Image.new("L", (16, 16), {"white": 255, "nearly black": 4}.get(drawing, 0))
    if drawing == "line":
        mask.paste(255, (4, 4, 12, 6))
    text = base64.b64encode(encode_png(mask)).decode()
    fields = {"image": {"image": IMAGE, "mask": text}} if is_in_image else {"image": IMAGE, "mask": text}
    shown = []
    for unit in ({**fields, "module": "invert"}, {"image": IMAGE, "module": "invert"}):
        scripts = {"controlnet": {"args": [unit]}}
        request, warnings = await sent(server, prompt="x", width=16, height=16, alwayson_scripts=scripts)
        shown += [each for files in request.inputs.values() for each in files]

        assert [] == warnings
    images = [Image.open(io.BytesIO(each)) for each in shown if isinstance(each, bytes)]

    assert is_used == (shown[0] != shown[1])
    assert is_used == (mask.convert("RGB").tobytes() == images[0].tobytes())


async def test_a_mask_that_is_no_image(server: Server) -> None:
    """It is an error with the name of its field."""
    scripts = {"controlnet": {"args": [{"image": IMAGE, "mask": "bm8="}]}}
    answer = await server.http.post("/sdapi/v1/txt2img", json={"prompt": "x", "alwayson_scripts": scripts})

    assert (400, "alwayson_scripts.controlnet.mask") == (answer.status_code, answer.json()["param"])


@pytest.mark.parametrize(("option", "scale"), [("Both", 0.7), ("Low res only", 0), ("High res only", 0.7)])
async def test_an_image_in_place_of_the_first_pass(server: Server, option: str, scale: float) -> None:
    """What is left is the second pass."""
    unit = {"image": IMAGE, "weight": 0.7, "hr_option": option}
    body: dict[str, Any] = {"prompt": "x", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    request, _ = await sent(server, **body, enable_hr=True, hr_upscaler="Lanczos", firstpass_image=IMAGE)

    assert scale == request.params[SCALE]


def test_unknown() -> None:
    """Another option is an error."""
    with pytest.raises(InvalidParameterError, match="hr_option"):
        assert Unit.model_validate({"hr_option": "Never"}).passes


@pytest.mark.parametrize(
    ("option", "first", "second"), [("Both", 0.7, None), ("Low res only", 0.7, 0), ("High res only", 0, 0.7)]
)
async def test_two_passes(server: Server, option: str, first: float, second: float | None) -> None:
    """Each has its own scale of the control; a request without a second pass has that of the unit."""
    unit = {"image": IMAGE, "weight": 0.7, "hr_option": option}
    body: dict[str, Any] = {"prompt": "x", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    request, warnings = await sent(server, **body, enable_hr=True, hr_upscaler="Lanczos")
    single, _ = await sent(server, **body)

    assert first == request.params[SCALE]
    assert second == request.workflow["hires"]["params"].get(SCALE)
    assert 0.7 == single.params[SCALE]
    assert [] == warnings


async def test_units_in_infotexts(server: Server) -> None:
    """They are described as the extension does, also with a weight in one pass alone; read back, they are a warning."""
    unit = {"image": IMAGE, "module": "canny", "model": "edges", "weight": 0.7, "control_mode": 2, "hr_option": 2}
    body: dict[str, Any] = {"prompt": "x", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    hires = {"enable_hr": True, "hr_upscaler": "Lanczos"}
    answer = (await server.http.post("/sdapi/v1/txt2img", json={**body, **hires})).json()
    info = json.loads(answer["info"])
    _, warnings = await sent(server, infotext=info["infotexts"][0])
    expected = (
        "Module: canny, Model: edges, Weight: 0.7, Resize Mode: Crop and Resize, Guidance Start: 0.0, Guidance End: 1.0, "
        "Pixel Perfect: False, Control Mode: ControlNet is more important, Hr Option: High res only"
    )

    assert expected == split_infotext(info["infotexts"][0])[2]["ControlNet 0"]
    assert expected == info["extra_generation_params"]["ControlNet 0"]
    assert [each for each in warnings if "'ControlNet 0' has no effect" in each]


async def test_control_images_in_the_response(server: Server) -> None:
    """They follow the result where a unit asks for them; those of units that do not are left out."""
    lengths = []
    for wanted in (True, False):
        unit = {"image": IMAGE, "module": "canny", "save_detected_map": wanted, "is_ui": False}
        body = {"prompt": "x", "n_iter": 2, "alwayson_scripts": {"controlnet": {"args": [unit]}}}
        answer = (await server.http.post("/sdapi/v1/txt2img", json=body)).json()
        lengths.append((len(answer["images"]), len(json.loads(answer["info"])["infotexts"])))

        assert not [each for each in answer["warnings"] if "is_ui" in each]

    assert [(3, 2), (2, 2)] == lengths


@pytest.mark.parametrize("image", [None, IMAGE])
async def test_each_of_several_images_has_its_control(server: Server, image: str | None) -> None:
    """It is made of that image, or of that of the unit at its size, and follows the results where it differs."""
    sources = [base64.b64encode(sample_image(colour, size)).decode() for colour, size in SOURCES]
    unit = {"image": image, "module": "invert", "save_detected_map": True}
    body = {"prompt": "x", "init_images": sources, "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    answer = await server.http.post("/sdapi/v1/img2img", json=body)
    assert answer.is_success, answer.text
    files: list[list[Any]] = [
        [each.inputs[name][0] for name in ("image", "control_image")] for each in server.generations.requests
    ]
    made = [[Image.open(io.BytesIO(each)) for each in pair] for pair in files]

    assert [[size, size] for _, size in SOURCES] == [[each.size for each in pair] for pair in made]
    assert (["cyan", "yellow"] if image is None else ["cyan"] * 2) == [colour_of(pair[1]) for pair in made]
    assert 2 + 2 == len(answer.json()["images"])


def colour_of(made: Image.Image) -> str:
    """Return the name of the colour of an image."""
    names = {ImageColor.getrgb(name): name for name in ("cyan", "yellow")}
    return names[made.getpixel((0, 0))]  # type: ignore[index] # it is RGB


async def test_a_control_image_is_not_larger_than_an_image_may_be(server: Server) -> None:
    """The size is refused before the image of the unit is resized to it, which may need more memory than there is."""
    scripts = {"controlnet": {"args": [{"image": IMAGE}]}}
    body = {"prompt": "x", "width": 9000, "height": 9000, "alwayson_scripts": scripts}
    answer = await server.http.post("/sdapi/v1/txt2img", json=body)

    assert (400, "width") == (answer.status_code, answer.json()["param"])
    assert [] == server.generations.requests


async def test_the_size_of_a_preprocessor(server: Server) -> None:
    """It works at its resolution; pixel perfect is the size of the result, whatever the resolution."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    unit = {"image": base64.b64encode(file.getvalue()).decode(), "module": "threshold", "threshold_a": 127}
    shown = []
    for fields in ({"processor_res": -1}, {"processor_res": 16}, {"processor_res": 16, "pixel_perfect": True}):
        scripts = {"controlnet": {"args": [{**unit, **fields}]}}
        request, _ = await sent(server, prompt="x", width=64, height=64, alwayson_scripts=scripts)
        shown += [each for files in request.inputs.values() for each in files]

    assert shown[0] == shown[2] != shown[1]


#: Arguments of scripts in no form that a script has, or in one of older clients.
MALFORMED = (
    *(True, 1, 0.5, "on", [True], [0, "x"], [[True]], [{"enabled": True}], [{"a": {"b": [0, 1]}}]),
    *({"on": True}, {"args": True}, {"args": 3}, {"args": "on"}, {"args": [True]}, {"args": {"on": True}}),
    *({"args": {"args": [True]}}, {"args": [["x"]]}, {"arg": [1]}),
)


@pytest.mark.parametrize("args", MALFORMED, ids=json.dumps)
@pytest.mark.parametrize("name", ["ADetailer", "controlnet", "ControlNet"])
@pytest.mark.parametrize("route", ["txt2img", "img2img"])
async def test_no_arguments_are_ignored_silently(server: Server, route: str, name: str, args: Any) -> None:
    """Whatever their form is, a script that has no effect is named by an error or a warning."""
    body = {"prompt": "x", "init_images": [IMAGE], "alwayson_scripts": {name: args}}
    answer = await server.http.post(f"/sdapi/v1/{route}", json=body)
    told = answer.json()["warnings"] if answer.is_success else [answer.json()["detail"], answer.json()["param"]]
    # A unit without an image has that of the request.
    is_unit = name != "ADetailer" and args == [{"enabled": True}] and route == "img2img"

    assert is_unit or any(name.casefold() in each.casefold() for each in told), told
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("name", ["ADetailer", "controlnet"])
@pytest.mark.parametrize(
    "args", [None, [], {}, [False], {"args": []}, {"args": None}, {"args": [False, None]}], ids=json.dumps
)
async def test_arguments_that_ask_for_nothing_need_no_warning(server: Server, name: str, args: Any) -> None:
    """Clients send them for each script that they know."""
    assert [] == (await sent(server, prompt="x", alwayson_scripts={name: args}))[1]


async def test_arguments_of_no_script(server: Server) -> None:
    """They are a warning, unless they ask for nothing."""
    asked: list[Any] = [[1], [["x"]], [], ["", False], {}]
    warnings = [(await sent(server, prompt="x", script_args=each))[1] for each in asked]

    assert [["'script_args' has no effect without 'script_name'."]] * 2 + [[]] * 3 == warnings
