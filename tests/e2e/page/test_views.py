"""How the page shows each kind of output, which tiny pipelines with random weights make."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from fakes import sample_image
from makers import pipelines
from makers.samples import content, parted
from octabox.media import meshes
from octabox.types import OutputFormat
from page_tab import PATIENCE, Tab
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: The class of a tiny model for each view.
MODELS = {
    "depth": "MarigoldDepthPipeline",
    "mesh": "ShapEPipeline",
    "sound": "StableAudioPipeline",
    "text": "UniDiffuserPipeline",
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


def generate(
    tab: Tab, model: str, task: str = "", file_format: str = "", prompt: str = "a red circle", image: bytes = b""
) -> Any:
    """Generate an output of a model in the page, and return its figure; without a prompt, none is filled in."""
    tab.page.goto(f"{tab.url}/#/create?model={model}{f'&task={task}' if task else ''}")
    tab.until("(name) => document.querySelector('octabox-create')?.model === name", model)
    if task:
        is_shown = "({ task, tasks }, wanted) => task === wanted && tasks.includes(wanted)"
        tab.until(f"(wanted) => ({is_shown})(document.querySelector('octabox-create'), wanted)", task)
    tab.page.wait_for_selector("octabox-create form button.primary:not([disabled])")
    tab.page.wait_for_timeout(500)
    if media := tab.page.query_selector("[data-control=image] input[type=file]"):
        media.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": image or content("image")})
        tab.page.wait_for_selector("[data-control=image] .medium img")
    if prompt and tab.page.query_selector("#field-prompt"):
        tab.page.fill("#field-prompt", prompt)
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


#: Adds a viewer of a mesh, and counts the contexts that are created.
ADD_MESH = """async (url) => {
    await import(new URL("ui/js/mesh.js", document.baseURI));
    window.contexts = 0;
    const original = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (...all) { window.contexts++; return original.apply(this, all); };
    const mesh = document.createElement("octabox-mesh");
    Object.assign(mesh, { url, type: "model/gltf-binary", label: "cut" });
    document.querySelector("main").append(mesh);
    await mesh.updateComplete;
}"""


def test_a_mesh_that_cannot_be_shown_says_why(tab: Tab) -> None:
    """That the server has none, or that its file is damaged; the viewer is a control with keys of its own."""
    note = "document.querySelector('octabox-mesh .note').innerText"
    tab.page.evaluate(ADD_MESH, f"{tab.url}/results/none")
    assert "404" in tab.until(f"!{note}.includes('triangles') && {note}")
    tab.page.evaluate("document.querySelector('octabox-mesh').remove()")
    tab.page.route("**/results/cut", lambda route: route.fulfill(body=b"glTF" + bytes(4)))
    tab.page.evaluate(ADD_MESH, f"{tab.url}/results/cut")
    assert "This mesh cannot be shown." == tab.until(f"!{note}.includes('triangles') && {note}")

    assert "application" == tab.page.get_attribute("octabox-mesh canvas", "role")


def test_a_mesh_that_is_gone_gets_no_context(tab: Tab) -> None:
    """Its file may arrive when the viewer is not shown any more."""
    late: list[Any] = []
    tab.page.route("**/results/late", lambda route: late.append(route))  # noqa: PLW0108 (Playwright sets attributes of it)
    tab.page.evaluate(ADD_MESH, f"{tab.url}/results/late")
    while not late:
        tab.page.wait_for_timeout(50)
    tab.page.evaluate("document.querySelector('octabox-mesh').remove()")
    glb, _ = meshes.encode(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]]), None, OutputFormat("glb"))
    with tab.page.expect_response("**/results/late"):
        late[0].fulfill(body=bytes(glb))
    tab.page.wait_for_timeout(300)

    assert 0 == tab.page.evaluate("window.contexts")


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

    tab.page.click("nav >> text=Gallery")
    tab.page.locator("li.cell:has(img) button.thumb").first.click()
    shown = tab.page.locator("dialog.viewer .view img")
    tab.until("document.querySelectorAll('dialog.viewer .view img').length === 2")
    image, depth = (each.bounding_box() for each in shown.all())
    assert image["x"] + image["width"] <= depth["x"]


def test_text_is_shown(tab: Tab) -> None:
    """Words about an image are text of the page."""
    # With a prompt, this pipeline makes an image of it instead; it takes images of its own size.
    outputs = generate(tab, "text", "image-to-text", prompt="", image=sample_image(size=(32, 32)))
    outputs.locator("pre").wait_for()

    url = tab.page.evaluate("document.querySelector('octabox-create octabox-output').output.url")
    words = httpx.get(url, trust_env=False).text
    tab.until(
        "(words) => document.querySelector('octabox-create pre').textContent.trim() === words",
        words.strip() or "(no text)",
    )
