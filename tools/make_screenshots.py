"""Write the screenshots of the web page for the documentation, from a server with the embedded model and its LoRAs.

With a folder as argument, every screen is written into it too: on a desktop in light and dark, and on a telephone.
Playwright and Chromium are needed: ``make test-slow`` installs both.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from page_tab import PATIENCE  # noqa: E402
from serving import running_server  # noqa: E402

FOLDER = ROOT / "docs" / "images"

#: The screens, and the windows in which each of them is written.
SCREENS = ("create", "queue", "gallery", "models", "adapters", "grid", "system")
WINDOWS = {"light": (1280, 860, "light"), "dark": (1280, 860, "dark"), "telephone": (390, 844, "light")}

PROMPTS = (
    "a large yellow star on a blue background",
    "a small red heart on a white background",
    "a green circle on a black background",
    "a large purple square on a white background",
    "a blue triangle on a yellow background",
    "a red star on a black background",
)


def main() -> None:
    """Write the screenshots."""
    with tempfile.TemporaryDirectory() as folder:
        loras = Path(folder) / "loras"
        shutil.copytree(ROOT / "tests" / "data" / "adapters" / "loras", loras)
        data = ("--data-dir", str(Path(folder) / "data"))
        with running_server(Path(folder), "--loras", str(loras), *data) as url, sync_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            _write_previews(url, loras)
            page.goto(url)
            for seed, prompt in enumerate(PROMPTS):
                _make(page, prompt, seed)
            page.screenshot(path=FOLDER / "page-create.png")
            page.goto(f"{url}/#/gallery")
            page.wait_for_selector("li.cell >> nth=5")
            page.wait_for_timeout(1000)
            page.emulate_media(color_scheme="dark")
            page.screenshot(path=FOLDER / "page-gallery.png")
            page.emulate_media(color_scheme="light")
            _grid(page, url)
            page.screenshot(path=FOLDER / "page-grid.png")
            phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
            phone.goto(url)
            _make(phone, PROMPTS[0], 1)
            phone.evaluate("scrollTo(0, 0)")
            phone.wait_for_timeout(500)
            phone.screenshot(path=FOLDER / "page-telephone.png")
            if len(sys.argv) > 1:
                _all_screens(browser, url, Path(sys.argv[1]))
            browser.close()


def _write_previews(url: str, loras: Path) -> None:
    """Write an image of each LoRA beside its file."""
    params = {"prompt": PROMPTS[0], "num_inference_steps": 20}
    for file in sorted(loras.glob("*.safetensors")):
        request = {"model": "demo", "params": params, "seed": 1, "adapters": [file.stem]}
        response = httpx.post(f"{url}/v1/generations", json=request, trust_env=False, timeout=PATIENCE)
        assert response.is_success, response.text
        content = httpx.get(response.json()["outputs"][0]["url"], trust_env=False).content
        file.with_suffix(".preview.png").write_bytes(content)


def _all_screens(browser: Any, url: str, folder: Path) -> None:
    """Write every screen in every window, with an image in Create, jobs that wait in the queue, and a grid."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height, scheme) in WINDOWS.items():
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(url)
        _make(page, PROMPTS[0], 1)
        _grid(page, url, colours="yellow, red", scales="1, 4")
        _pause(url, "pause")
        page.goto(f"{url}/#/create")
        for prompt in PROMPTS[1:3]:
            page.fill("#field-prompt", prompt)
            page.keyboard.press("Control+Enter")
            page.wait_for_timeout(300)
        for screen in SCREENS:
            page.goto(f"{url}/#/{screen}")
            page.wait_for_selector("main :is(form, section):visible", timeout=PATIENCE)
            page.wait_for_timeout(1000)
            page.screenshot(path=folder / f"{screen}-{name}.png")
        _pause(url, "resume")
        _dialogs(page, url, folder, name)
        page.close()


def _dialogs(page: Any, url: str, folder: Path, name: str) -> None:
    """Write what opens over a screen: the viewer of the gallery, the painter of masks, and the list of keys."""
    page.goto(f"{url}/#/gallery")
    page.click("li.cell .thumb >> nth=0")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / f"viewer-{name}.png")
    page.click("dialog button:text-is('Inpaint')")
    page.click("button:has-text('Paint the mask')")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / f"painter-{name}.png")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_timeout(300)
    page.screenshot(path=folder / f"keys-{name}.png")


def _pause(url: str, verb: str) -> None:
    """Pause the queue of jobs, or resume it."""
    httpx.post(f"{url}/v1/jobs/{verb}", trust_env=False, timeout=PATIENCE).raise_for_status()


def _make(page: Any, prompt: str, seed: int) -> None:
    """Generate an image."""
    page.wait_for_selector("#field-prompt", timeout=PATIENCE)
    page.fill("#field-prompt", prompt)
    if not page.is_visible("#seed"):
        page.click("details.parameters > summary")
    page.fill("#seed", str(seed))
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(200)
    page.wait_for_selector("octabox-create .result[data-state=completed] img", timeout=PATIENCE)


def _grid(page: Any, url: str, colours: str = "red, green, blue, yellow", scales: str = "1, 2, 4") -> None:
    """Generate a grid."""
    page.goto(f"{url}/#/grid")
    page.select_option("select[name=axis-x]", "words in the prompt")
    page.fill("input[name=values-x]", colours)
    page.select_option("select[name=axis-y]", "guidance_scale")
    page.fill("input[name=values-y]", scales)
    page.click("text=Generate grid")
    page.wait_for_selector("text=Save as one image", timeout=PATIENCE)
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
