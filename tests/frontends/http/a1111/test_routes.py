"""The routes of the web UI without a model: lists, options, errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest

from a1111_bodies import IMAGE, sent
from fakes import Server, sample_image
from octabox import errors
from octabox.frontends.http.a1111.samplers import LABELS
from octabox.service.protocols import Models
from octabox.types import Event, GenerationRequest

PREFIX = "/sdapi/v1"

#: The description of an image, with the least number of pairs.
INFOTEXT = "x\nSteps: 9, Sampler: DDIM, Seed: 4"


@pytest.fixture
def server() -> Server:
    """Return a server over fakes."""
    return Server()


def other(server: Server) -> httpx.AsyncClient:
    """Return another client at the same address."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://localhost")


async def test_lists(server: Server) -> None:
    """Each has the shape that clients read."""
    found = {
        name: (await server.http.get(f"{PREFIX}/{name}")).json() for name in ("samplers", "schedulers", "sd-models")
    }
    embeddings = (await server.http.get(f"{PREFIX}/embeddings")).json()
    scripts = (await server.http.get(f"{PREFIX}/scripts")).json()

    assert {"DPM++ 2M", "Euler a", "DDIM"} <= {each["name"] for each in found["samplers"]} <= set(LABELS)
    assert all({"name", "aliases", "options"} == set(each) for each in found["samplers"])
    assert {"automatic": "Automatic", "karras": "Karras", "sgm_uniform": "SGM Uniform"}.items() <= {
        each["name"]: each["label"] for each in found["schedulers"]
    }.items()
    assert ["demo", "org/painter"] == [each["model_name"] for each in found["sd-models"]]
    assert {"loaded": {}, "skipped": {}} == embeddings
    assert "controlnet m2m" in scripts["txt2img"]


@pytest.mark.parametrize(
    "name",
    [
        "sd-vae",
        "sd-modules",
        "hypernetworks",
        "face-restorers",
        "realesrgan-models",
        "extensions",
        "loras",
        "prompt-styles",
        "upscalers",
        "latent-upscale-modes",
        "script-info",
    ],
)
async def test_other_lists(server: Server, name: str) -> None:
    """Each is a list, possibly empty."""
    assert isinstance((await server.http.get(f"{PREFIX}/{name}")).json(), list)


@pytest.mark.parametrize(
    "name",
    [
        "refresh-checkpoints",
        "refresh-vae",
        "refresh-loras",
        "refresh-embeddings",
        "interrupt",
        "skip",
        "reload-checkpoint",
    ],
)
async def test_commands_without_a_body(server: Server, name: str) -> None:
    """Each responds with JSON, since clients parse it."""
    answer = await server.http.post(f"{PREFIX}/{name}")

    assert (200, {}) == (answer.status_code, answer.json())


async def test_memory_and_flags(server: Server) -> None:
    """Memory has the host's; flags are those of the settings."""
    memory, flags = [(await server.http.get(f"{PREFIX}/{name}")).json() for name in ("memory", "cmd-flags")]

    assert {"free", "used", "total"} == set(memory["ram"])
    assert flags["port"] == 8080


@pytest.mark.parametrize("name", ["server-kill", "server-restart", "server-stop"])
async def test_the_server_is_not_stopped(server: Server, name: str) -> None:
    """Clients may not, unless the settings allow it."""
    answer = await server.http.post(f"{PREFIX}/{name}")

    assert (403, "forbidden") == (answer.status_code, answer.json()["code"])
    assert "a1111_server_control" in answer.json()["detail"]


async def test_the_machine_and_the_versions(server: Server) -> None:
    """They are as the web UI names them, in a file to store where the client asks for one; no setting is among them."""
    paths = ("sysinfo", "sysinfo?attachment=true", "sysinfo-download")
    shown, *files = [await server.http.get(f"/internal/{path}") for path in paths]

    assert {"Platform", "Python", "Version", "CPU", "RAM", "Extensions", "Packages"} == set(shown.json())
    assert any(each.startswith("diffusers==") for each in shown.json()["Packages"])
    assert {"free", "used", "total"} == set(shown.json()["RAM"])
    assert shown.headers["content-disposition"].startswith('inline; filename="sysinfo-')
    assert ["attachment"] * 2 == [each.headers["content-disposition"].partition(";")[0] for each in files]


async def test_comments_in_prompts(server: Server) -> None:
    """They are removed, also from prompts in the response, unless an option turns that off; those in a line with a warning."""
    prompts: dict[str, Any] = {
        "prompt": "a star # bright",
        "negative_prompt": "# all\nblur",
        "hr_prompt": "a star#",
        "enable_hr": True,
    }
    request, warnings = await sent(server, **prompts, hr_upscaler="Lanczos")
    answer = (await server.http.post(f"{PREFIX}/txt2img", json=prompts)).json()
    await server.http.post(f"{PREFIX}/options", json={"enable_prompt_comments": False})
    kept, none = await sent(server, prompt="a # b")
    again, _ = await sent(server, prompt="a # b", override_settings={"enable_prompt_comments": True})

    assert ("a star ", "blur") == (request.params["prompt"], request.optional_params["negative_prompt"])
    assert "a star" == request.workflow["hires"]["params"]["prompt"]
    assert "a star " == json.loads(answer["info"])["prompt"]
    assert ("a # b", "a ") == (kept.params["prompt"], again.params["prompt"])
    note = "'prompt' has a comment, which is left out: '# bright'; the option 'enable_prompt_comments' turns that off."
    assert ([note], []) == (warnings, none)


async def test_options_of_one_caller_are_not_those_of_another(server: Server) -> None:
    """All options sent back change nothing; another model is that of this caller alone."""
    second = other(server)
    await second.get(f"{PREFIX}/progress")
    before = (await server.http.get(f"{PREFIX}/options")).json()
    echoed = await server.http.post(f"{PREFIX}/options", json=before)
    await server.http.post(f"{PREFIX}/options", json={**before, "sd_model_checkpoint": "org/painter"})
    mine, theirs = [(await each.get(f"{PREFIX}/options")).json() for each in (server.http, second)]
    await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x"})

    assert (200, None) == (echoed.status_code, echoed.json())
    assert "x-octabox-warnings" not in echoed.headers
    assert mine["sd_model_checkpoint"].startswith("org/painter [")
    assert theirs == before
    assert "org/painter" == server.asked.model


async def test_override_settings_are_those_of_one_request(server: Server) -> None:
    """The next one has the options of the caller."""
    await server.http.post(
        f"{PREFIX}/txt2img", json={"prompt": "x", "override_settings": {"sd_model_checkpoint": "org/painter"}}
    )
    first = server.asked.model
    await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x"})

    assert ("org/painter", "demo") == (first, server.asked.model)


@pytest.mark.parametrize("name", ["", " ", None, "None", "Use same checkpoint"])
async def test_a_checkpoint_that_is_none_is_that_of_the_caller(server: Server, name: str | None) -> None:
    """Clients send it for a model that nobody has chosen; it selects no other one, of a request or as an option."""
    await server.http.post(f"{PREFIX}/options", json={"sd_model_checkpoint": "org/painter"})
    changed = await server.http.post(f"{PREFIX}/options", json={"sd_model_checkpoint": name})
    kept = (await server.http.get(f"{PREFIX}/options")).json()["sd_model_checkpoint"]
    body = {"prompt": "x", "override_settings": {"sd_model_checkpoint": name}}
    answer = await server.http.post(f"{PREFIX}/txt2img", json=body)

    assert (200, 200) == (changed.status_code, answer.status_code)
    assert kept.startswith("org/painter [")
    assert "org/painter" == server.asked.model


async def test_an_override_that_is_null_is_none(server: Server) -> None:
    """The option of the caller stays, not the default of the server."""
    await server.http.post(f"{PREFIX}/options", json={"samples_format": "webp"})
    await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x", "override_settings": {"samples_format": None}})

    assert "webp" == server.asked.output.format


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/sdapi/v1/nothere", None, 404, "There is no route GET"),
        ("GET", "/sdapi/v1/txt2img", None, 405, "is called by POST"),
        ("POST", "/sdapi/v1/train/embedding", {}, 404, "There is no route"),
        ("POST", "/sdapi/v1/options", {"sd_model_checkpoint": "nothere"}, 404, "There is no model 'nothere'"),
        ("POST", "/sdapi/v1/options", {"jpeg_quality": "high"}, 400, "jpeg_quality"),
        (
            "POST",
            "/sdapi/v1/options",
            {"samples_format": "gif"},
            400,
            "'samples_format' must be one of png, jpeg, webp",
        ),
        ("POST", "/sdapi/v1/txt2img", {"sampler_name": "nothere"}, 404, "Sampler not found"),
        ("POST", "/sdapi/v1/txt2img", {"steps": "many"}, 400, "'steps'"),
        ("POST", "/sdapi/v1/txt2img", {"n_iter": 99}, 400, "1 to 10 images"),
        ("POST", "/sdapi/v1/txt2img", {"script_name": "Loopback"}, 422, "Script 'loopback' not found"),
        ("POST", "/sdapi/v1/txt2img", {"enable_hr": True, "hr_upscaler": "LDSR"}, 400, "There is no upscaler 'LDSR'"),
        ("POST", "/sdapi/v1/img2img", {"init_images": []}, 404, "Init image not found"),
        ("POST", "/sdapi/v1/img2img", {"init_images": ["!"]}, 400, "base64"),
        ("POST", "/sdapi/v1/png-info", {}, 400, "'image' is missing"),
        ("POST", "/sdapi/v1/interrogate", {"image": "QQ=="}, 400, "no model that describes images"),
        ("POST", "/sdapi/v1/extra-single-image", {"image": "QQ=="}, 400, "image"),
        ("POST", "/controlnet/detect", {"controlnet_module": "depth"}, 400, "There is no preprocessor 'depth'"),
        ("POST", "/controlnet/detect", {"controlnet_threshold_a": "inf"}, 400, "controlnet_threshold_a"),
        ("POST", "/sdapi/v1/txt2img", {"cfg_scale": "nan"}, 400, "'cfg_scale'"),
        ("POST", "/sdapi/v1/txt2img", {"infotext": INFOTEXT, "override_settings": [1]}, 400, "override_settings"),
        ("POST", "/controlnet/txt2img", {"controlnet_units": [], "alwayson_scripts": [1]}, 400, "alwayson_scripts"),
    ],
)
async def test_errors(server: Server, method: str, path: str, body: Any, status: int, text: str) -> None:
    """Each has the format of the web UI, and names the cause; the next good request is served."""
    answer = await server.http.request(method, path, json=body)
    error = answer.json()

    assert status == answer.status_code
    assert {"error", "detail", "body", "errors", "code"} <= set(error)
    assert text in error["detail"]
    assert 200 == (await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x"})).status_code


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("txt2img", {"refiner_checkpoint": "nothere", "refiner_switch_at": 0.5}),
        ("txt2img", {"enable_hr": True, "hr_checkpoint_name": "nothere"}),
        ("txt2img", {"hr_checkpoint_name": "nothere", "enable_hr": True, "firstpass_image": IMAGE}),
        ("img2img", {"refiner_checkpoint": "nothere", "refiner_switch_at": 0.5, "init_images": [IMAGE]}),
    ],
)
async def test_the_field_of_an_unknown_model(server: Server, route: str, fields: dict[str, Any]) -> None:
    """It is that of the client."""
    answer = await server.http.post(f"{PREFIX}/{route}", json={"prompt": "x", **fields})

    assert 404 == answer.status_code
    assert answer.json()["param"] in fields


async def test_previews_of_steps_that_are_no_number(server: Server) -> None:
    """The service judges them; the number of previews is not the reason of an error."""
    await server.http.get(f"{PREFIX}/progress")
    answer = await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x", "num_inference_steps": "abc"})

    assert 200 == answer.status_code
    assert "abc" == server.asked.optional_params["num_inference_steps"]


async def test_a_body_that_is_too_large() -> None:
    """The error has the format of the web UI, whether the length is declared or not."""
    server = Server(max_upload_bytes=100)

    async def chunks() -> AsyncIterator[bytes]:
        yield b" " * 200

    for content in (b" " * 200, chunks()):
        answer = await server.http.post(
            f"{PREFIX}/img2img", content=content, headers={"content-type": "application/json"}
        )

        assert (413, "request_too_large") == (answer.status_code, answer.json()["code"])
        assert {"error", "detail", "body", "errors"} <= set(answer.json())


async def test_an_unexpected_exception_is_not_shown(server: Server) -> None:
    """Its details are in the log of the server."""
    server.generations.error = ZeroDivisionError("secret")
    answer = await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x"})

    assert 500 == answer.status_code
    assert "secret" not in answer.text


async def test_png_info_of_another_image(server: Server) -> None:
    """An image without an infotext has all keys."""
    body = {"image": base64.b64encode(sample_image()).decode()}
    answer = await server.http.post(f"{PREFIX}/png-info", json=body)

    assert {"info": "", "items": {}, "parameters": {}} == answer.json()


async def test_extras(server: Server) -> None:
    """Filters enlarge; a size is cropped or not; what has no effect is a warning."""
    image = base64.b64encode(sample_image(size=(16, 8))).decode()
    body = {"image": image, "upscaler_1": "Lanczos", "upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.5}
    sized = {**body, "resize_mode": 1, "upscaling_resize_w": 32, "upscaling_resize_h": 32}
    cases = [body, {**body, "upscaling_resize": "3"}, sized, {**sized, "upscaling_crop": False}, {"image": image}]
    made = [(await server.http.post(f"{PREFIX}/extra-single-image", json=each)).json() for each in cases]
    batch = {**body, "imageList": [{"data": image, "name": "a"}] * 2, "codeformer_visibility": 1}
    several = (await server.http.post(f"{PREFIX}/extra-batch-images", json=batch)).json()

    assert [(32, 16), (48, 24), (32, 32), (64, 32), (16, 8)] == [size_of(each["image"]) for each in made]
    assert 2 == len(several["images"])
    assert "codeformer_visibility" in several["html_info"]


@pytest.mark.parametrize(("crop", "heights"), [(True, (32, 40)), (False, (16, 32))])
async def test_the_limit_of_extras_is_that_of_the_enlarged_image(heights: tuple[int, int], *, crop: bool) -> None:
    """It is cropped before it is enlarged; without that, one side may be longer."""
    server = Server(max_image_pixels=1000)
    body = {"image": base64.b64encode(sample_image(size=(16, 8))).decode(), "upscaler_1": "Nearest", "resize_mode": 1}
    sized = {**body, "upscaling_crop": crop, "upscaling_resize_w": 31}
    answers = [
        await server.http.post(f"{PREFIX}/extra-single-image", json={**sized, "upscaling_resize_h": each})
        for each in heights
    ]

    assert [200, 400] == [each.status_code for each in answers]
    assert "upscaling_resize_w" == answers[1].json()["param"]


def size_of(image: str) -> tuple[int, int]:
    """Return the size of an image in base64."""
    return int.from_bytes(base64.b64decode(image)[16:20], "big"), int.from_bytes(base64.b64decode(image)[20:24], "big")


async def test_controlnet_routes(server: Server) -> None:
    """They list the preprocessors, and detect edges."""
    names = ("version", "model_list", "module_list", "control_types", "settings")
    found = {name: (await server.http.get(f"/controlnet/{name}")).json() for name in names}
    body = {"controlnet_module": "canny", "controlnet_input_images": [base64.b64encode(sample_image()).decode()]}
    detected = (await server.http.post("/controlnet/detect", json=body)).json()

    assert {"version": 2} == found["version"]
    assert "canny" in found["module_list"]["module_list"]
    assert "Canny" in found["control_types"]["control_types"]
    assert (16, 8) == size_of(detected["images"][0])


async def test_each_listed_module_detects(server: Server) -> None:
    """Each name in the list makes an image, in the shape that clients read; what has no effect is a warning."""
    listed = (await server.http.get("/controlnet/module_list", params={"alias_names": True})).json()
    image = base64.b64encode(sample_image(size=(64, 48))).decode()
    for name in listed["module_list"]:
        body = {"controlnet_module": name, "controlnet_input_images": [image], "controlnet_processor_res": 32}
        detected = (await server.http.post("/controlnet/detect", json=body)).json()

        assert ("Success", 1) == (detected["info"], len(detected["images"]))
        assert (64 if name == "none" else 43) == size_of(detected["images"][0])[0]
        assert {"model_free", "sliders"} == set(listed["module_detail"][name])
    body = {"controlnet_images": [image], "controlnet_masks": ["x"]}
    other = (await server.http.post("/controlnet/detect", json=body)).json()

    assert ["'controlnet_masks' has no effect: there is no such field."] == other["warnings"]


async def test_types_of_control(server: Server) -> None:
    """Each has the keys that clients read, and its default is one of its modules."""
    types = (await server.http.get("/controlnet/control_types")).json()["control_types"]

    for row in types.values():
        assert {"module_list", "model_list", "default_option", "default_model"} == set(row)
        assert row["default_option"] in row["module_list"]
        assert row["default_model"] in row["model_list"]


async def test_info_has_all_keys(server: Server) -> None:
    """It is a JSON text with the keys of the web UI."""
    answer = (await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x", "seed": 3, "n_iter": 2})).json()
    info = json.loads(answer["info"])

    assert {
        *("prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed"),
        *("all_subseeds", "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size"),
        *("restore_faces", "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash"),
        *("seed_resize_from_w", "seed_resize_from_h", "denoising_strength", "extra_generation_params"),
        *("index_of_first_image", "infotexts", "styles", "job_timestamp", "clip_skip"),
        *("is_using_inpainting_conditioning", "version", "warnings"),
    } <= set(info)
    assert [3, 4] == info["all_seeds"]
    assert {"images", "parameters", "info", "warnings"} == set(answer)
    assert "data:" not in answer["images"][0]


async def test_batches_that_wait_for_room_run_soon_after_there_is_some(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that clients are told is a later one for each of them, and the place is free long before."""
    monkeypatch.setattr(errors, "MAX_PAUSE", 0.01)
    stream, running, refused = server.generations.stream, list[str](), list[str]()

    async def limited(request: GenerationRequest, models: Models) -> AsyncGenerator[Event, None]:
        if running:
            refused.append(request.id)
            raise errors.QueueFullError("Full.", retry_after=640)
        running.append(request.id)
        try:
            async for event in stream(request, models):
                await asyncio.sleep(0.02)
                yield event
        finally:
            running.clear()

    monkeypatch.setattr(server.generations, "stream", limited)
    work = server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x", "n_iter": 2})
    response = await asyncio.wait_for(work, 20)

    assert refused
    assert 2 == len(response.json()["images"])
