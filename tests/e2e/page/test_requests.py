"""Requests that the page takes over: from files of other programs, from the gallery, and over a reload."""

from __future__ import annotations

import io
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
