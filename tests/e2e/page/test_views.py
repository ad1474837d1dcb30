"""How the page shows each kind of output, which tiny pipelines with random weights make."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from makers import pipelines
from makers.samples import content, parted
from page_tab import PATIENCE, Tab
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: The class of a tiny model for each view.
MODELS = {
    "depth": "MarigoldDepthPipeline",
    "mesh": "ShapEPipeline",
    "sound": "StableAudioPipeline",
    "video": "LTXPipeline",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with the tiny models."""
    folder = tmp_path_factory.mktemp("models")
    for name, pipeline in MODELS.items():
        tiny = pipelines()[pipeline]
        weights = tmp_path_factory.mktemp(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tiny.make().save_pretrained(str(weights))
        plain, _ = parted(tiny.params)
        defaults = {key: value for key, value in plain.items() if key not in ("prompt", "output_type")}
        model = {"name": name, "model": str(weights), "defaults": defaults}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")
    with running_server(folder, "--max-resident", "1") as url:
        yield url


def generate(tab: Tab, model: str, task: str = "", file_format: str = "") -> Any:
    """Generate an output of a model in the page, and return its figure."""
    tab.page.goto(f"{tab.url}/#/create?model={model}{f'&task={task}' if task else ''}")
    tab.until("(name) => document.querySelector('octabox-create')?.model === name", model)
    tab.page.wait_for_selector("octabox-create form button.primary:not([disabled])")
    tab.page.wait_for_timeout(500)
    if media := tab.page.query_selector("[data-control=image] input[type=file]"):
        media.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": content("image")})
        tab.page.wait_for_selector("[data-control=image] .medium img")
    if tab.page.query_selector("#field-prompt"):
        tab.page.fill("#field-prompt", "a red circle")
    if file_format:
        tab.page.select_option("#format", file_format)
    tab.send()
    ended = "octabox-create .result:is([data-state=completed], [data-state=failed])"
    tab.page.wait_for_selector(ended, timeout=PATIENCE * 2)
    assert "Done" in tab.page.inner_text("octabox-create .result"), tab.page.inner_text("octabox-create .result")
    return tab.page.locator("octabox-create .outputs")


def test_a_mesh_turns(tab: Tab) -> None:
    """A mesh is drawn and turns by keys and by the pointer; its viewer is loaded when there is one to show."""
    tab.page.wait_for_timeout(500)
    assert not tab.page.evaluate("!!customElements.get('octabox-mesh')")
    outputs = generate(tab, "mesh", file_format="glb")
    canvas = outputs.locator("canvas.mesh")
    canvas.wait_for()
    tab.page.wait_for_selector("octabox-mesh .note:has-text('triangles')")
    pixels = "(canvas) => canvas.toDataURL()"
    first = canvas.evaluate(pixels)
    canvas.focus()
    tab.page.keyboard.press("ArrowRight")
    second = canvas.evaluate(pixels)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tab.page.mouse.move(box["x"] + 100, box["y"] + 100)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 160, box["y"] + 120, steps=3)
    tab.page.mouse.up()
    third = canvas.evaluate(pixels)

    assert "0 triangles" not in tab.page.inner_text("octabox-mesh .note").split(", ")
    assert len({first, second, third}) == 3


def test_audio_has_a_waveform(tab: Tab) -> None:
    """Audio is played, and its waveform is drawn."""
    outputs = generate(tab, "sound")
    outputs.locator("audio[controls]").wait_for()
    drawn = """() => {
        const canvas = document.querySelector("octabox-create canvas.waveform");
        return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((each) => each > 0);
    }"""
    tab.until(drawn)


def test_a_video_is_played(tab: Tab) -> None:
    """A video has its size, and controls."""
    outputs = generate(tab, "video")
    video = outputs.locator("video[controls]")
    video.wait_for()
    tab.until("document.querySelector('octabox-create .outputs video').readyState >= 1")

    assert video.evaluate("(each) => each.videoWidth > 0 && each.duration > 0")


def test_depth_is_beside_its_image(tab: Tab) -> None:
    """The input and its depth stand side by side, and the array itself can be downloaded."""
    outputs = generate(tab, "depth")
    outputs.locator("octabox-output img").first.wait_for()
    tops = outputs.locator("img").evaluate_all("(all) => all.map((each) => each.getBoundingClientRect().top)")

    assert outputs.locator("figure.input img").count() == 1
    assert len(tops) >= 2
    assert abs(tops[0] - tops[1]) < 2
    assert outputs.locator("octabox-output a[download]").count() >= 1
