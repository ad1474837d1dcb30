"""Tasks, faces, styles and tags of the A1111 API, on a real server and the embedded model."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import skimage
from PIL import Image

import upscalers
from a1111_images import BASE, UNSET, ask, decoded, difference, encoded, image, info
from demo_pictures import border_colour, centre_colour
from octabox import demo
from octabox.engine.worker.upscaling.detection import find_faces
from serving import running_server
from trained import EMBEDDINGS, LORAS, shows

STYLES = "name,prompt,negative_prompt\nblue,{prompt} on a blue background,\nempty,,\n"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a server with LoRAs, embeddings, styles, a network for faces, and a user."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(LORAS, models / "loras")
    shutil.copytree(EMBEDDINGS, models / "embeddings")
    (models / "styles.csv").write_text(STYLES, encoding="utf-8")
    upscalers.save(upscalers.restoreformer(), models / "GFPGANv1.pth")
    upscalers.save(upscalers.nearest(2), models / "twice.pth")
    (models / "other.yaml").write_text(f"model: {demo.FOLDER}\n")
    environment = {"OCTABOX_STYLES": str(models / "styles.csv")}
    with (
        running_server(models, "--a1111-auth", "me:secret", environment=environment) as address,
        httpx.Client(base_url=address, timeout=240, trust_env=False, auth=("me", "secret")) as client,
    ):
        yield client


def test_users(http: httpx.Client) -> None:
    """Without them no route of the API answers, whatever is asked."""
    for method, path in (("GET", "/sdapi/v1/options"), ("POST", "/sdapi/v1/txt2img"), ("GET", "/controlnet/version")):
        answer = httpx.request(method, f"{str(http.base_url).rstrip('/')}{path}", trust_env=False)

        assert (401, "Basic") == (answer.status_code, answer.headers["www-authenticate"])
        assert {"error", "detail", "body", "errors"} <= set(answer.json())
    assert "sd_model_checkpoint" in http.get("/sdapi/v1/options").json()


def test_styles(http: httpx.Client) -> None:
    """They are in the list, and change the prompt of the image; an unknown one is an error with those that there are."""
    listed = http.get("/sdapi/v1/prompt-styles").json()
    answer = ask(http, prompt="a red circle", styles=["blue"])
    wrong = http.post("/sdapi/v1/txt2img", json={**BASE, "styles": ["bleu"]})

    assert ["blue", "empty"] == [each["name"] for each in listed]
    assert {"name", "prompt", "negative_prompt"} == set(listed[0])
    assert ("red", "blue") == (centre_colour(image(answer)), border_colour(image(answer)))
    assert "a red circle on a blue background" == info(answer)["all_prompts"][0]
    assert (400, True) == (wrong.status_code, "blue" in wrong.text)


def test_loras(http: httpx.Client) -> None:
    """A tag applies one of the list, also to a part of its weight; the infotext has it, and makes the same image again."""
    names = [each["name"] for each in http.get("/sdapi/v1/loras").json()]
    answer = ask(http, steps=12, prompt=f"{BASE['prompt']} <lora:hearts:0.9>")
    plain, off = ask(http, steps=12), ask(http, steps=12, prompt=f"{BASE['prompt']} <lora:hearts:0>")
    disabled = ask(http, steps=12, prompt=f"{BASE['prompt']} <lora:hearts:1>", disable_extra_networks=True)
    again = ask(http, **UNSET, infotext=info(answer)["infotexts"][0])
    wrong = http.post("/sdapi/v1/txt2img", json={**BASE, "prompt": "x <lora:nothere:1>"})

    assert "hearts" in names
    assert "heart" == shows(image(answer))[0]
    assert "<lora:hearts:0.9>" in info(answer)["infotexts"][0]
    assert image(again).tobytes() == image(answer).tobytes()
    assert image(plain).tobytes() == image(off).tobytes() == image(disabled).tobytes()
    assert (400, True) == (wrong.status_code, "nothere" in wrong.json()["detail"])


def test_embeddings(http: httpx.Client) -> None:
    """Each word of the list changes the image."""
    loaded = http.get("/sdapi/v1/embeddings").json()["loaded"]
    plain = image(ask(http)).tobytes()

    assert loaded
    for word, row in loaded.items():
        assert {"step", "sd_checkpoint", "sd_checkpoint_name", "shape", "vectors"} == set(row)
        assert plain != image(ask(http, prompt=f"{BASE['prompt']} {word}")).tobytes()


@pytest.mark.slow
def test_faces(http: httpx.Client) -> None:
    """Only the face changes, as much as the visibility says; the upscaler comes after that or before."""
    portrait = Image.fromarray(skimage.data.astronaut()).resize((256, 256))  # type: ignore[no-untyped-call]
    (face,) = find_faces(portrait)
    outside = np.ones((256, 256), bool)
    outside[face.box[1] : face.box[3], face.box[0] : face.box[2]] = False
    before = np.asarray(portrait, int)
    changes = []
    for visibility in (0.5, 1):
        body = {"image": encoded(portrait), "gfpgan_visibility": visibility}
        answer = http.post("/sdapi/v1/extra-single-image", json=body).json()
        made = decoded(answer["image"]).convert("RGB")
        changes.append(difference(made, portrait))

        assert [] == answer["warnings"]
        assert (np.asarray(made, int)[outside] == before[outside]).all()
    both = {"image": encoded(portrait), "gfpgan_visibility": 1, "upscaler_1": "twice"}
    sizes = []
    for first in (False, True):
        answer = http.post("/sdapi/v1/extra-single-image", json={**both, "upscale_first": first}).json()
        sizes.append(decoded(answer["image"]))

    assert 0.8 < changes[1] / (2 * changes[0]) < 1.2
    assert [(512, 512)] * 2 == [each.size for each in sizes]
    assert difference(*sizes) > 0
    assert ["GFPGANv1"] == [each["name"] for each in http.get("/sdapi/v1/face-restorers").json()]


def test_faces_of_a_request(http: httpx.Client) -> None:
    """The model is that of the option; an image without a face is the same, with a warning."""
    settings = {"face_restoration_model": "GFPGAN"}
    plain, answer = ask(http), ask(http, restore_faces=True, override_settings=settings)

    assert image(plain).tobytes() == image(answer).tobytes()
    assert ("GFPGANv1", True) == (info(answer)["face_restoration_model"], info(answer)["restore_faces"])
    assert [each for each in answer.json()["warnings"] if "No face was found" in each]


@pytest.mark.slow
def test_a_task_by_its_id(http: httpx.Client) -> None:
    """Its progress grows, has previews for those who read them, and ends; another client sees it by the id as well."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(ask(http, steps=400, force_task_id="mine")))
    body = {"id_task": "mine", "id_live_preview": -1, "live_preview": False}
    thread.start()
    seen: list[dict[str, Any]] = []
    while thread.is_alive():
        seen.append(http.post("/internal/progress", json=body).json())
        time.sleep(0.05)
    thread.join()
    after = http.post("/internal/progress", json=body).json()
    fractions = [each["progress"] for each in seen if each["active"]]

    assert [*fractions] == sorted(fractions)
    assert fractions[-1] - fractions[0] > 0.3
    assert (False, True) == (after["active"], after["completed"])
    assert "mine" == info(answers[0])["id_task"]


@pytest.mark.slow
def test_a_skipped_batch(http: httpx.Client) -> None:
    """The batches after it are made; what is skipped leaves no image."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(ask(http, steps=300, n_iter=2, seed=5)))
    thread.start()
    for _ in range(600):
        state = http.get("/sdapi/v1/progress", params={"skip_current_image": True}).json()["state"]
        if state["sampling_step"] > 2:
            break
        time.sleep(0.02)
    skipped = http.post("/sdapi/v1/skip")
    thread.join(240)

    assert {} == skipped.json()
    assert (2, 300) == (state["job_count"], state["sampling_steps"])
    assert ([6], 1) == (info(answers[0])["all_seeds"], len(answers[0].json()["images"]))


@pytest.mark.slow
def test_a_model_is_unloaded_and_loaded(http: httpx.Client) -> None:
    """By the options of the caller; its next image is the same."""
    assert http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "other"}).is_success
    before = image(ask(http, override_settings={"sd_model_checkpoint": "other"})).tobytes()
    answers = [http.post(f"/sdapi/v1/{name}-checkpoint") for name in ("unload", "unload", "reload")]
    after = image(ask(http, override_settings={"sd_model_checkpoint": "other"})).tobytes()

    assert [200] * 3 == [each.status_code for each in answers]
    assert before == after
