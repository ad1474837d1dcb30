"""Requests that the page takes over: from files of other programs, from the gallery, and over a reload."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from page_tab import Tab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Drops a file on the form.
DROP = """([bytes]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
  document.querySelector("form").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def as_web_ui(text: str) -> bytes:
    """Return an image as the AUTOMATIC1111 web UI writes it."""
    chunks, stream = PngInfo(), io.BytesIO()
    chunks.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(stream, "png", pnginfo=chunks)
    return stream.getvalue()


def body_of(tab: Tab) -> Any:
    """Return the request that the form describes."""
    return tab.page.evaluate("document.querySelector('octabox-create').body()")


def test_a_file_of_the_web_ui_with_a_second_pass(tab: Tab) -> None:
    """Its strength is that of the second pass; what the server reads for `octabox run --from`, the form has."""
    text = (
        "a red circle\nNegative prompt: blurry\nSteps: 3, Sampler: Euler a, CFG scale: 4, Seed: 7, Size: 64x64, "
        "Model: anything, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 2, Hires steps: 2, Hires upscaler: Latent, "
        "Variation seed: 5, Variation seed strength: 0.25, ADetailer model: face, Version: v1.9"
    )
    tab.page.evaluate(DROP, [list(as_web_ui(text))])
    tab.page.wait_for_selector("text=Parameters restored from image.png. Not used: ADetailer model, Model anything.")

    body = body_of(tab)
    # What is the default is not sent.
    hires = {"scale": 2, "steps": 2, "strength": 0.4, "upscaler": "latent"}
    assert hires == {"scale": 2, "strength": 0.4} | body["workflow"]["hires"]
    assert {"seed": 5, "strength": 0.25} == body["workflow"]["variation"]
    assert (7, "a1111", 1) == (body["seed"], body["prompt_syntax"], body["params"]["clip_skip"])
    assert "strength" not in body["params"]
    assert "text-to-image" == body["task"]


def test_copies_run(tab: Tab, tmp_path: Path) -> None:
    """A request with a file is a command and a program that a person can run in a folder with the file."""
    tab.page.evaluate("document.querySelector('octabox-create').choose('demo', 'image-to-image')")
    tab.page.fill("#field-prompt", "it's a; red circle")
    tab.page.wait_for_selector("[data-control=image] input[type=file]", state="attached")
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "image.png")
    tab.page.set_input_files("[data-control=image] input[type=file]", tmp_path / "image.png")
    tab.until("!!document.querySelector('octabox-create').source")
    tab.page.fill("#field-num_inference_steps", "2")
    curl, program = tab.page.evaluate(
        """async () => {
          const { asCurl, asPython } = await import("/ui/js/snippets.js");
          const body = document.querySelector("octabox-create").body();
          return [asCurl(body), asPython(body)];
        }"""
    )
    environment = {**os.environ, "no_proxy": "*"}
    options: Any = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 200}
    answer = json.loads(subprocess.run(["bash", "-c", curl], check=True, **options).stdout)
    assert "it's a; red circle" == answer["outputs"][0]["metadata"]["params"]["prompt"]
    link = subprocess.run([sys.executable, "-c", program], check=True, **options).stdout
    assert link.startswith(f"{tab.url}/results/")


def test_an_image_of_the_gallery_as_an_input(tab: Tab) -> None:
    """A model that takes none is left for one that does; without one, and without a mask, the page says so."""
    use = """async ([what, tasks]) => {
      const form = document.querySelector("octabox-create");
      const output = { url: (await import("/ui/js/api.js")).url("ui/favicon.svg") };
      form.tasks = tasks;
      form.fields = form.fields.filter((each) => !["image", "mask"].includes(each.control));
      await form.onUse({ detail: { what, output } });
      return [form.message, form.notice, form.task, !!form.source];
    }"""
    page = tab.page
    page.evaluate("document.querySelector('octabox-create').choose('demo', 'text-to-image')")
    page.fill("#field-prompt", "a red circle")
    assert ["", "", "image-to-image", True] == page.evaluate(use, ["image", ["text-to-image", "image-to-image"]])
    message, notice, task, taken = page.evaluate(use, ["mask", ["text-to-image", "image-to-image"]])
    assert ("", "image-to-image", True) == (message, task, taken)
    assert "There is no mask" in notice
    # The model of the server is another one than that of the form.
    page.evaluate("document.querySelector('octabox-create').model = 'speech'")
    assert "speech takes no image, so demo is chosen." == page.evaluate(use, ["image", ["text-to-audio"]])[1]
    page.evaluate("document.querySelector('octabox-create').models = []")
    assert "No model of this server takes an image" in page.evaluate(use, ["image", ["text-to-audio"]])[0]


def test_words_go_to_the_prompt_with_the_cursor(tab: Tab) -> None:
    """Those of a wildcard or a LoRA, also in a negative prompt."""
    insert = "document.querySelector('octabox-create').insert(' more')"
    tab.page.fill("#field-prompt", "a")
    tab.page.fill("#field-negative_prompt", "b")
    tab.page.evaluate(insert)
    assert ("a", "b more") == (body_of(tab)["params"]["prompt"], body_of(tab)["params"]["negative_prompt"])
    tab.page.focus("#field-prompt")
    tab.page.evaluate(insert)
    assert ("a more", "b more") == (body_of(tab)["params"]["prompt"], body_of(tab)["params"]["negative_prompt"])


def test_only_images_are_compared(tab: Tab) -> None:
    """Two texts, or an image and a text, have no comparison."""
    show = """async () => {
      const { history } = await import("/ui/js/history.js");
      const file = { url: "/ui/favicon.svg", metadata: {}, tags: [] };
      const made = (key, type) => ({ ...file, kind: type.split("/")[0], media_type: type, key });
      history.load = async () => {};
      history.items = [made("a/0", "image/svg"), made("b/0", "image/svg"), made("c/0", "text/plain")];
      history.changed();
    }"""
    tab.page.evaluate(show)
    tab.page.click("nav >> text=Gallery")
    boxes = tab.page.locator("li.cell input[type=checkbox]")
    compare = tab.page.locator("button:text-is('Compare')")
    boxes.nth(0).click()
    boxes.nth(1).click()
    assert 1 == compare.count()
    boxes.nth(1).click()
    boxes.nth(2).click()
    tab.page.wait_for_selector("text=2 selected")
    assert 0 == compare.count()


def test_a_form_outlasts_a_reload(tab: Tab, tmp_path: Path) -> None:
    """Its whole request does, with the model and the task of the address; files that are too large for the browser are left."""
    ready = "octabox-create button.primary:not([disabled])"
    tab.page.select_option("select[name=task]", "image-to-image")
    tab.page.wait_for_selector("[data-control=image] input[type=file]", state="attached")
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "image.png")
    tab.page.set_input_files("[data-control=image] input[type=file]", tmp_path / "image.png")
    tab.until("!!document.querySelector('octabox-create').source")
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.fill("#seed", "7")
    tab.page.fill("#outputs", "3")
    tab.page.evaluate("Object.assign(document.querySelector('octabox-create'), { chosen: { hearts: 0.5 } })")
    tab.page.evaluate(
        "Object.assign(document.querySelector('octabox-create'), { workflow: { upscale: { scale: 3 } } })"
    )
    tab.page.select_option("#scheduler", "ddim")
    before = body_of(tab)
    assert {"image", "prompt"} <= before["params"].keys()
    for screen in ("create", "gallery"):
        if screen == "gallery":
            tab.page.click("nav >> text=Gallery")
        tab.page.reload()
        tab.page.wait_for_selector(ready, state="attached")
        tab.until("document.querySelector('octabox-scheduler').waiting === 0")
        assert before == body_of(tab)

    tab.page.evaluate("document.querySelector('octabox-create').values.image = 'data:,' + 'a'.repeat(2 ** 24)")
    tab.page.reload()
    tab.page.wait_for_selector(ready, state="attached")
    assert {**before, "params": {**before["params"], "image": None}} == {
        **body_of(tab),
        "params": {"image": None, **body_of(tab)["params"]},
    }
    tab.page.goto(f"{tab.url}/#/create?model=demo&task=text-to-image")
    tab.page.reload()
    tab.page.wait_for_selector(ready, state="attached")
    assert "image-to-image" != body_of(tab)["task"]


def test_the_browsers_back_in_the_gallery(tab: Tab) -> None:
    """It closes the viewer, and opens it again after an output was used; the search is in the address."""
    tab.make("a red circle", num_inference_steps=2)
    tab.page.click("nav >> text=Gallery")
    tab.page.fill("octabox-gallery input[type=search]", "circle")
    viewer = "dialog.viewer"
    for _ in range(2):
        tab.page.locator("li.cell button.thumb").first.click()
        tab.page.wait_for_selector(viewer)
        assert "open=" in tab.page.url
        tab.page.go_back()
        tab.page.wait_for_selector(viewer, state="detached")
        assert tab.page.url.endswith("#/gallery?q=circle")
    for close in ("Escape", ""):
        tab.page.locator("li.cell button.thumb").first.click()
        tab.page.wait_for_selector(viewer)
        if close:
            tab.page.keyboard.press(close)
        else:
            tab.page.click(f"{viewer} button.close")
        tab.page.wait_for_selector(viewer, state="detached")
        tab.until("location.hash === '#/gallery?q=circle'")
    tab.page.locator("li.cell button.thumb").first.click()
    tab.page.reload()
    tab.page.wait_for_selector(viewer)
    assert "circle" == tab.page.input_value("octabox-gallery input[type=search]")
    tab.page.click(f"{viewer} >> text=Use seed")
    tab.page.wait_for_selector("#seed:visible")
    tab.page.go_back()
    tab.page.wait_for_selector(viewer)
    tab.page.go_back()
    tab.page.wait_for_selector(viewer, state="detached")
