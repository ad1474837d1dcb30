"""Schedulers with their settings, previews of adapters, the settings and the log, and many outputs at once."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from page_tab import PATIENCE, Tab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS: dict[str, Any] = {"num_inference_steps": 4}


def sent(tab: Tab) -> dict[str, Any]:
    """Send the form, and return the body of its request."""
    with tab.page.expect_request("**/v1/jobs") as request:
        tab.make("a red circle", **STEPS)
    body: dict[str, Any] = request.value.post_data_json
    return body


def test_a_scheduler_with_its_settings(tab: Tab) -> None:
    """Only what fits is offered; the request has what was set, the image is restored with it, and another one keeps none."""
    tab.page.wait_for_selector("#scheduler option[value=dpmpp_2m]", state="attached")
    assert 0 == tab.page.locator("#scheduler option[value=FlowMatchEulerDiscreteScheduler]").count()
    tab.page.select_option("#scheduler", "dpmpp_2m")
    tab.page.wait_for_selector("#field-scheduler-schedule option[value=karras]", state="attached")
    tab.page.select_option("#field-scheduler-schedule", "karras")
    tab.page.click("summary:has-text('Scheduler settings')")
    assert 0 == tab.page.locator("#field-scheduler-use_flow_sigmas").count()
    tab.page.fill("#field-scheduler-solver_order", "3")
    body = sent(tab)
    assert {"name": "dpmpp_2m", "schedule": "karras", "solver_order": 3} == body["scheduler"]
    assert "Done" in tab.page.inner_text("octabox-create .result"), tab.page.inner_text("octabox-create .result")

    tab.page.select_option("#scheduler", "")
    assert "scheduler" not in sent(tab)
    tab.page.reload()
    tab.open("gallery")
    tab.page.fill("input[type=search]", "karras")
    tab.page.click("li.cell .thumb")
    tab.page.click("dialog >> text=Use all parameters")
    tab.until("document.querySelector('#scheduler').value === 'dpmpp_3m'")
    tab.until("document.querySelector('#field-scheduler-schedule')?.value === 'karras'")
    assert {"name": "dpmpp_3m", "schedule": "karras"} == sent(tab)["scheduler"]


def test_a_wrong_setting_is_said_at_the_scheduler(tab: Tab) -> None:
    """The server's words are below the choice."""
    tab.page.select_option("#scheduler", "dpmpp_2m")
    tab.page.click("summary:has-text('Scheduler settings')")
    tab.page.fill("#field-scheduler-solver_order", "200000")
    assert 200_000 == sent(tab)["scheduler"]["solver_order"]

    assert "solver_order" in tab.page.inner_text("#scheduler-note")


def test_previews_of_adapters(tab: Tab) -> None:
    """The image beside a file is shown where the LoRA is chosen and listed; one without has the letters of its name."""
    tab.page.click("summary:has-text('Adapters')")
    shown = (
        "([...document.querySelectorAll('%s octabox-preview img')].filter((each) => each.naturalWidth === 32)).length"
    )
    tab.until(f"{shown % 'octabox-create'} === 1")
    tab.open("adapters")
    tab.until(f"{shown % 'octabox-adapters'} === 1")
    tab.page.wait_for_selector("li[data-adapter=hearts] img")

    assert "FR" == tab.page.inner_text("li[data-adapter=frame] octabox-preview").upper()
    tab.page.fill("octabox-adapters input[type=search]", "hearts")
    assert 1 == tab.page.locator("li.card").count()


def test_settings_and_log(tab: Tab) -> None:
    """Each setting has what has set it; the log grows while it is watched, and both are searched."""
    tab.make("a red circle", **STEPS)
    tab.open("system")
    row = tab.page.locator("tr[data-setting=port]")
    row.wait_for()
    assert ["0", "--port"] == row.locator("td").all_inner_texts()
    tab.page.check("input[name=changed]")
    assert 0 == tab.page.locator("tr[data-setting=queue_size]").count()
    tab.page.wait_for_selector(".log div:has-text('demo')")
    before = tab.page.locator(".log div").count()
    body = {"model": "demo", "params": {"prompt": "a blue star", **STEPS}}
    assert httpx.post(f"{tab.url}/v1/generations", json=body, trust_env=False, timeout=PATIENCE).is_success
    tab.until("(before) => document.querySelectorAll('.log div').length > before", before)


def test_many_outputs_by_one_request(tab: Tab) -> None:
    """A range is selected, starred and tagged by one request each; what is deleted stays so, also one of several outputs."""
    words = "an orange diamond"
    tab.make(words, seed=11, outputs=3, **STEPS)
    tab.open("gallery")
    tab.page.fill("input[type=search]", "orange diamond")
    tab.page.wait_for_selector("li.cell >> nth=2")
    tab.page.check("li.cell input >> nth=0")
    tab.page.locator("li.cell input").nth(2).click(modifiers=["Shift"])
    assert "3 selected" in tab.page.inner_text(".selection")
    requests: list[str] = []
    tab.page.on("request", lambda request: requests.append(request.url) if "/outputs/" in request.url else None)
    tab.page.click(".selection button:text-is('Star')")
    tab.page.wait_for_selector("li.cell .star >> nth=2")
    tab.page.fill(".selection input[name=tags]", "bright, keep")
    tab.page.keyboard.press("Enter")
    tab.until(
        "document.querySelector('octabox-gallery').items.filter((each) => each.tags.includes('keep')).length === 3"
    )
    assert [f"{tab.url}/v1/jobs/outputs/mark"] * 2 == requests

    tab.page.click(".selection >> text=Select none")
    tab.page.check("li.cell input >> nth=0")
    tab.page.click(".selection >> text=Delete")
    with tab.page.expect_response("**/v1/jobs/outputs/delete"):
        tab.page.click("nav >> text=Queue")
    tab.open("gallery")
    tab.page.reload()
    tab.page.fill("input[type=search]", "bright")
    tab.page.wait_for_selector(".bar:has-text('2 outputs')")


def test_the_viewer_steps(tab: Tab) -> None:
    """Arrow keys show the output before and after."""
    tab.make("a white square on a red background", seed=1, **STEPS)
    tab.make("a white heart on a red background", seed=1, **STEPS)
    tab.open("gallery")
    tab.page.fill("input[type=search]", "white red")
    tab.page.wait_for_selector("li.cell >> nth=1")
    tab.page.click("li.cell .thumb >> nth=0")
    first = tab.page.inner_text("dialog .words")
    tab.page.keyboard.press("ArrowRight")
    second = tab.page.inner_text("dialog .words")
    tab.page.keyboard.press("ArrowLeft")

    assert ("a white heart on a red background", "a white square on a red background") == (first, second)
    assert first == tab.page.inner_text("dialog .words")


def test_a_model_is_pinned(tab: Tab) -> None:
    """The table says how long a model stays; a model that is not in memory has an estimate."""
    tab.make("a red circle", **STEPS)
    tab.open("models")
    row = tab.page.locator("tr[data-model=demo]")
    row.locator("button:text-is('Pin')").click(timeout=PATIENCE)
    row.locator("small:text-is('pinned')").wait_for(timeout=PATIENCE)
    row.locator("button:text-is('Pin')").click()
    row.locator("small:text-is('pinned')").wait_for(state="detached", timeout=PATIENCE)
    row.locator("text=Unload").click()
    row.locator("text=about 1").wait_for(timeout=PATIENCE)

    assert "fits into memory" in row.inner_text()


def test_one_click_from_start_to_an_image(tab: Tab) -> None:
    """An example of the model's is generated where there is no result yet."""
    tab.page.click(".examples button >> nth=0")
    tab.page.wait_for_selector("octabox-create .result[data-state=completed] img", timeout=PATIENCE)

    assert "a large yellow star on a blue background" == tab.page.input_value("#field-prompt")


def with_model(content: bytes, model: str) -> bytes:
    """Return an image of ours whose metadata name another model."""
    image, chunks, file = Image.open(io.BytesIO(content)), PngInfo(), io.BytesIO()
    chunks.add_text("octabox", json.dumps({**json.loads(image.info["octabox"]), "model": model}))
    image.save(file, "png", pnginfo=chunks)
    return file.getvalue()


def test_a_file_dropped_anywhere(tab: Tab) -> None:
    """Its parameters are restored in Create, and what the form does not have is named."""
    tab.make("a red circle", seed=21, **STEPS)
    url = tab.page.get_attribute("octabox-create .outputs img", "src")
    content = with_model(httpx.get(url, trust_env=False).content, "gone")
    tab.open("queue")
    tab.page.fill("#field-prompt", "other", force=True)
    script = """([bytes]) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([new Uint8Array(bytes)], "made.png", {type: "image/png"}));
        const event = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
        document.querySelector("octabox-queue").dispatchEvent(event);
    }"""
    tab.page.evaluate(script, [list(content)])
    tab.page.wait_for_selector("text=Parameters restored from made.png. Not used: Model gone.")

    assert "a red circle" == tab.page.input_value("#field-prompt")


def test_two_fingers_zoom_the_painter(tab: Tab) -> None:
    """They paint nothing; one finger does."""
    tab.make("a red circle", seed=1, **STEPS)
    tab.page.click("figcaption button:has-text('Inpaint')")
    tab.page.click("button:has-text('Paint the mask')")
    box = tab.page.wait_for_selector("dialog.mask canvas[width='128']").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = tab.page.context.new_cdp_session(tab.page)

    def touch(kind: str, *places: float) -> None:
        points = [{"x": x + each, "y": y, "id": index} for index, each in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    painted = "() => document.querySelector('octabox-mask').pixels().data.some((each) => each > 0)"
    touch("touchStart", -20)
    touch("touchStart", -20, 20)
    touch("touchMove", -40, 40)
    touch("touchEnd")
    assert not tab.page.evaluate(painted)
    assert tab.page.evaluate("document.querySelector('octabox-mask').zoom") == pytest.approx(2, abs=0.1)
    touch("touchStart", 0)
    touch("touchMove", 10)
    touch("touchEnd")

    assert tab.page.evaluate(painted)
