"""The web page in Chromium, against a real server with the embedded model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from page_tab import PATIENCE, Tab, watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = {"num_inference_steps": 8}


def pixels(site: str, page: Any) -> np.ndarray:
    """Return the pixels of the image at the right."""
    source = page.get_attribute("octabox-create .outputs img", "src")
    content = httpx.get(source, trust_env=False).content
    assert source.startswith(site)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_the_first_image(tab: Tab, site: str) -> None:
    """A prompt and Ctrl+Enter: a preview grows, then there is the image with its seed."""
    tab.make("a large yellow star on a blue background", seed=1)

    corner = pixels(site, tab.page)[4, 4]
    assert [128, 128] == tab.size()
    assert corner[2] > 150 > corner[0]
    assert "Seed 1" in tab.page.inner_text("octabox-create figcaption")


def test_weights_and_earlier_prompts(tab: Tab) -> None:
    """Ctrl+Up weighs the word at the cursor, and Alt+Up brings an earlier prompt back."""
    tab.make("a red circle", **STEPS)
    tab.page.fill("#field-prompt", "a green heart")
    tab.page.eval_on_selector("#field-prompt", "(area) => area.setSelectionRange(4, 4)")
    tab.page.focus("#field-prompt")

    for _ in range(2):
        tab.page.keyboard.press("Control+ArrowUp")
    assert "a (green:1.2) heart" == tab.page.input_value("#field-prompt")
    for _ in range(2):
        tab.page.keyboard.press("Control+ArrowDown")
    assert "a green heart" == tab.page.input_value("#field-prompt")
    tab.page.keyboard.press("Alt+ArrowUp")
    assert "a red circle" == tab.page.input_value("#field-prompt")


def test_an_error_and_a_warning_are_at_their_fields(tab: Tab) -> None:
    """What the server refuses is said at the field, and so is what has no effect."""
    tab.make("a red circle", width=130, **STEPS)
    assert "multiple of 8" in tab.page.inner_text("#field-width-note")

    tab.make("a red circle", width=128, negative_prompt="blue", guidance_scale=1, **STEPS)
    assert "no effect" in tab.page.inner_text("#field-negative_prompt-note")
    assert "no effect" in tab.page.inner_text("octabox-create .warnings")


@pytest.mark.parametrize("touch", [False, True])
def test_a_painted_mask_changes_only_what_is_painted(browser: Any, site: str, touch: bool) -> None:
    """The mask is painted over an image by mouse or finger; outside of it the image remains."""
    context = browser.new_context(has_touch=touch, viewport={"width": 900, "height": 1000})
    context.set_default_timeout(60_000)
    tab = watch(context.new_page(), site)
    tab.make("a large yellow star on a blue background", seed=1)
    before = pixels(site, tab.page)
    tab.page.click("figcaption button:has-text('Inpaint')")
    tab.page.click("button:has-text('Paint the mask')")
    box = tab.page.wait_for_selector("dialog.mask canvas[width='128']").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if touch:
        tab.page.touchscreen.tap(x, y)
    else:
        tab.page.mouse.move(x - 20, y)
        tab.page.mouse.down()
        tab.page.mouse.move(x + 20, y, steps=4)
        tab.page.mouse.up()
    tab.page.click("button:has-text('Use mask')")
    tab.page.wait_for_selector("[data-control=mask] img")
    # The workflow keeps every pixel outside of the mask.
    tab.page.click("summary:has-text('Workflow')")
    tab.page.check("input[name=workflow-inpaint]")
    tab.make("a green circle", strength=1, **STEPS)
    assert "Done" in tab.page.inner_text("octabox-create .result"), tab.page.inner_text("octabox-create")
    after = pixels(site, tab.page)
    context.close()

    changed = np.abs(after - before).max(-1) > 40
    assert changed[44:84, 44:84].any()
    assert not changed[:8].any()
    assert not changed[:, :8].any()
    assert [] == tab.problems


def test_a_workflow_and_a_lora(tab: Tab) -> None:
    """The parts of a workflow and the LoRAs that fit are switched on in the form."""
    tab.page.click("summary:has-text('Workflow')")
    tab.page.check("input[name=workflow-upscale]")
    tab.page.fill("#field-upscale-scale", "2")
    tab.page.click("summary:has-text('Adapters')")
    tab.page.check(".adapter:has-text('hearts') input[type=checkbox]")
    with tab.page.expect_request("**/v1/jobs") as sent:
        tab.make("a red circle", **STEPS)

    assert [{"lora": "hearts", "weight": 1}] == sent.value.post_data_json["adapters"]
    assert [256, 256] == tab.size()


def test_cancel_and_queue(tab: Tab) -> None:
    """Two requests wait their turn, the queue shows them, and Esc ends what runs."""
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.fill("#field-num_inference_steps", "900")
    tab.send()
    tab.page.wait_for_selector("octabox-create .result[data-state=in_progress]", timeout=PATIENCE)
    tab.page.fill("#field-num_inference_steps", "3")
    tab.send()
    tab.page.click("nav >> text=Queue")
    waiting = "ol.jobs > li:is([data-state=queued], [data-state=in_progress])"
    tab.page.wait_for_selector(f"{waiting} >> nth=1")
    assert 2 == tab.page.locator(waiting).count()
    tab.page.keyboard.press("Escape")
    tab.page.wait_for_selector("li[data-state=cancelled]", timeout=PATIENCE)
    tab.page.wait_for_selector("li[data-state=completed]", timeout=PATIENCE)

    tab.page.click("button:has-text('Clear finished')")
    tab.page.wait_for_selector("octabox-queue:has-text('Nothing waits.')")


def test_the_gallery_over_a_reload(tab: Tab) -> None:
    """What was made is found by its words, starred, deleted and brought back; a reload loses nothing."""
    tab.make("a red circle", seed=1, **STEPS)
    tab.make("a green heart", seed=2, **STEPS)
    tab.page.reload()
    tab.open("gallery")
    tab.page.wait_for_selector("li.cell >> nth=1")

    tab.page.fill("input[type=search]", "heart green")
    assert 1 == tab.page.locator("li.cell").count()
    tab.page.check("li.cell input")
    tab.page.click(".bar >> text=Delete")
    tab.page.wait_for_selector("text=Nothing was found.")
    tab.page.click(".bar >> text=Undo")
    tab.page.wait_for_selector("li.cell")
    tab.page.click("li.cell .thumb")
    tab.page.click("dialog >> text=Use all parameters")
    assert "a green heart" == tab.page.input_value("#field-prompt")
    assert ("2", "8") == (tab.page.input_value("#seed"), tab.page.input_value("#field-num_inference_steps"))


def test_stars_and_tags_are_on_the_server(tab: Tab, browser: Any, site: str) -> None:
    """A star and tags that one browser gives are shown and found in another one."""
    tab.make("a purple triangle", seed=3, **STEPS)
    tab.open("gallery")
    tab.page.fill("input[type=search]", "purple triangle")
    tab.page.click("li.cell .thumb >> nth=0")
    tab.page.fill("dialog label:has-text('Tags') input", "keep, sharp")
    tab.page.keyboard.press("Tab")
    tab.page.click("dialog button:text-is('Star')")
    tab.page.wait_for_selector("li.cell .star")
    context = browser.new_context()
    other = watch(context.new_page(), site)
    other.open("gallery")
    other.page.wait_for_selector("li.cell")
    other.page.fill("input[type=search]", "sharp keep")
    other.page.check(".bar .switch input")
    other.page.wait_for_selector(".bar:has-text('1 output')")
    assert 1 == other.page.locator("li.cell .star").count()
    assert [] == other.problems
    context.close()


def test_a_dropped_file_restores_its_parameters(tab: Tab, tmp_path: Path) -> None:
    """An image of Octabox's holds all that made it; another one says that it holds nothing."""
    tab.make("a red circle", seed=7, guidance_scale=4, **STEPS)
    content = httpx.get(tab.page.get_attribute("octabox-create .outputs img", "src"), trust_env=False).content
    tab.page.fill("#field-prompt", "something else")
    drop(tab.page, content)
    tab.page.wait_for_selector("text=Parameters restored")
    assert "a red circle" == tab.page.input_value("#field-prompt")
    assert ("7", "4") == (tab.page.input_value("#seed"), tab.page.input_value("#field-guidance_scale"))

    changes = {"variation": {"seed": 5, "strength": 0.25}, "noise": {"scale": 0.5}, "seamless": {"axes": "x"}}
    request = {
        "model": "demo",
        "params": {"prompt": "a (red:1.2) circle", **STEPS},
        "prompt_syntax": "a1111",
        "seed": 3,
    }
    answer = httpx.post(
        f"{tab.url}/v1/generations", json={**request, "workflow": changes}, trust_env=False, timeout=PATIENCE
    ).json()
    content = httpx.get(answer["outputs"][0]["url"], trust_env=False).content
    tab.page.reload()
    tab.page.wait_for_selector("octabox-create button.primary:not([disabled])")
    drop(tab.page, content)
    tab.page.wait_for_selector("text=Parameters restored")
    with tab.page.expect_request("**/v1/jobs") as sent:
        tab.make()
    body = sent.value.post_data_json
    assert ("a (red:1.2) circle", "a1111", 3) == (body["params"]["prompt"], body["prompt_syntax"], body["seed"])
    assert {"variation": changes["variation"], "noise": changes["noise"], "seamless": changes["seamless"]} == body[
        "workflow"
    ]
    again = httpx.get(tab.page.get_attribute("octabox-create .outputs img", "src"), trust_env=False).content
    first, second = (np.asarray(Image.open(io.BytesIO(each))) for each in (content, again))
    assert np.array_equal(first, second)

    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    drop(tab.page, (tmp_path / "plain.png").read_bytes())
    tab.page.wait_for_selector("text=This file has no generation metadata.")


def drop(page: Any, content: bytes) -> None:
    """Drop a file on the form."""
    script = """([bytes]) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([new Uint8Array(bytes)], "image.png", {type: "image/png"}));
        const event = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
        document.querySelector("form").dispatchEvent(event);
    }"""
    page.evaluate(script, [list(content)])


def test_a_grid_and_a_benchmark(tab: Tab) -> None:
    """Rows and columns vary two parameters at one seed; the benchmark goes on while another screen is shown, and stops."""
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.fill("#field-num_inference_steps", "3")
    tab.page.click("nav >> text=Grid")
    tab.page.select_option("select[name=axis-x]", "guidance_scale")
    tab.page.fill("input[name=values-x]", "1, 3")
    tab.page.select_option("select[name=axis-y]", "words in the prompt")
    tab.page.fill("input[name=values-y]", "circle, star")
    tab.page.click("text=Generate grid")
    tab.page.wait_for_selector("text=Save as one image", timeout=PATIENCE)
    assert 4 == tab.page.locator("table.plot img").count()
    with tab.page.expect_download() as saved:
        tab.page.click("text=Save as one image")
    with Image.open(saved.value.path()) as image:
        assert (120 + 256, 32 + 256) == image.size

    tab.page.click("nav >> text=System")
    tab.page.click("text=Run benchmark")
    tab.page.click("nav >> text=Gallery")
    tab.page.click("nav >> text=System")
    tab.page.wait_for_selector("octabox-system svg")
    assert 0 == tab.page.locator("button:text-is('Run benchmark'):not([disabled])").count()
    tab.page.wait_for_selector("button:text-is('Run benchmark')", timeout=PATIENCE)
    rows = "octabox-system table:has(+ svg) tbody tr"
    assert 3 == tab.page.locator(rows).count()
    tab.page.click("text=Run benchmark")
    tab.page.click("octabox-system >> text=Stop")
    tab.page.wait_for_selector("button:text-is('Run benchmark')", timeout=PATIENCE)
    assert 3 > tab.page.locator(rows).count()


def test_models_are_loaded_and_unloaded(tab: Tab) -> None:
    """The table of models says which are in memory."""
    tab.page.click("nav >> text=Models")
    row = tab.page.locator("tr[data-model=demo]")
    if "Unload" in row.inner_text():
        row.locator("text=Unload").click()
    row.locator("button:text-is('Load')").wait_for(timeout=PATIENCE)
    row.locator("button:text-is('Load')").click()
    row.locator("text=Unload").wait_for(timeout=PATIENCE)

    assert "in memory" in row.inner_text()


def test_two_tabs_at_once(tab: Tab, site: str) -> None:
    """Each tab shows its own image."""
    other = watch(tab.page.context.new_page(), site)
    for each, words in ((tab, "a red circle on a white background"), (other, "a blue circle on a white background")):
        each.page.fill("#field-prompt", words)
        each.page.fill("#seed", "1")
        each.send()
    middles = []
    for each in (tab, other):
        each.page.bring_to_front()
        each.page.wait_for_selector("octabox-create .result[data-state=completed]", timeout=PATIENCE)
        middles.append(pixels(site, each.page)[64, 64])

    assert middles[0][0] > middles[0][2]
    assert middles[1][2] > middles[1][0]
    assert [] == other.problems
