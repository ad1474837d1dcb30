"""Many models with long names, long prompts, prompts from right to left, narrow screens, and a keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from octabox import demo
from page_tab import PATIENCE, Tab
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SCREENS = ("create", "queue", "gallery", "models", "adapters", "grid", "system")

#: A name that is wider than a telephone.
LONG_NAME = "organisation-with-a-long-name-stable-diffusion-xl-turbo-fine-tuned-on-watercolour-illustrations-v2.1-fp16"

ARABIC = "دائرة حمراء كبيرة على خلفية زرقاء"

STEPS = {"num_inference_steps": 3}

#: By how many pixels the page is wider than the window.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with fifty models, one of which has a long name."""
    folder = tmp_path_factory.mktemp("models")
    for name in [LONG_NAME, *(f"model-{index:02}" for index in range(1, 50))]:
        model = {"name": name, "model": str(demo.FOLDER), "description": "What it was trained on. " * 4}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")
    with running_server(folder) as url:
        yield url


def test_a_telephone_is_wide_enough_for_long_names(tab: Tab) -> None:
    """No screen is wider than 320 pixels, and the mask is finished without a scroll."""
    tab.page.set_viewport_size({"width": 320, "height": 640})
    found = {}
    for screen in SCREENS:
        tab.open(screen)
        tab.page.wait_for_selector("main :is(form, section):visible")
        tab.page.wait_for_timeout(300)
        found[screen] = tab.page.evaluate(OVERFLOW)
    assert dict.fromkeys(SCREENS, 0) == found

    script = """async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 512, height: 768 });
      (await import("/ui/js/mask.js")).paintMask(canvas.toDataURL());
    }"""
    tab.page.evaluate(script)
    tab.until("document.querySelector('octabox-mask')?.strokes !== null")
    box = tab.page.locator("octabox-mask button:text-is('Use mask')").bounding_box()
    assert box["y"] + box["height"] <= 640


def test_models_are_searched(tab: Tab) -> None:
    """By all words, in their names, tasks and pipelines; a long name is chosen and makes an image."""
    tab.open("models")
    tab.page.fill("octabox-models input[name=models]", "watercolour inpainting")
    tab.page.wait_for_selector("octabox-models .bar:has-text('1 model')")
    tab.page.click(f"tr[data-model='{LONG_NAME}'] >> text=Use")
    tab.until("(name) => document.querySelector('select[name=model]').value === name", LONG_NAME)
    tab.page.wait_for_selector("octabox-create button.primary:not([disabled])")
    tab.make("a red circle", **STEPS)
    assert "Done" in tab.page.inner_text("octabox-create .result"), tab.page.inner_text("octabox-create .result")


def test_a_prompt_from_right_to_left(tab: Tab) -> None:
    """It is written, listed and shown from the right; few steps bring no warning about previews that nobody asked for."""
    tab.make(ARABIC, **STEPS)
    assert "rtl" == tab.page.eval_on_selector("#field-prompt", "(area) => getComputedStyle(area).direction")
    assert 0 == tab.page.locator("octabox-create .warnings").count()
    tab.open("queue")
    words = tab.page.locator(".jobs .words >> nth=0")
    words.wait_for()
    assert "rtl" == words.evaluate("(each) => getComputedStyle(each).direction")
    tab.open("gallery")
    tab.page.click("li.cell .thumb >> nth=0")
    direction = "(each) => getComputedStyle(each).direction"
    assert "rtl" == tab.page.eval_on_selector("dialog.viewer .words", direction)


def test_a_long_prompt_leaves_room_for_the_others(tab: Tab) -> None:
    """The queue shows its first lines, and all of it as a title; its error is at the field."""
    words = "a red circle " * 400
    tab.make(words, **STEPS)
    assert "tokens" in tab.page.inner_text("#field-prompt-note")
    tab.open("queue")
    job = tab.page.locator(".jobs > li >> nth=0")
    job.wait_for()
    assert job.bounding_box()["height"] < 200
    assert words.strip() == job.locator(".words").get_attribute("title").strip()


def test_a_keyboard_alone_makes_and_cancels(tab: Tab) -> None:
    """From the address on: past the screens to the content, to the prompt, a request, the list of keys and the queue."""
    page = tab.page
    page.reload()
    page.wait_for_selector("octabox-create button.primary:not([disabled])")
    page.keyboard.press("Tab")
    assert "Skip to content" == page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "field-prompt":
            break
    page.keyboard.type("a red circle")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "field-num_inference_steps":
            break
    page.keyboard.press("Control+A")
    page.keyboard.type("900")
    page.keyboard.press("Enter")
    page.wait_for_selector("octabox-create .result[data-state=in_progress]", timeout=PATIENCE)
    page.keyboard.press("Escape")
    page.wait_for_selector("octabox-create .result[data-state=cancelled]", timeout=PATIENCE)

    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.keys[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.keys", state="detached")
    page.locator("nav a:text-is('Queue')").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("li[data-state=cancelled]")


def test_a_slow_network_shows_what_it_waits_for(tab: Tab) -> None:
    """The page says that it reads, and is whole when the answers have come."""
    session = tab.page.context.new_cdp_session(tab.page)
    slow = {"offline": False, "latency": 1500, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", slow)
    tab.page.goto(f"{tab.url}/#/create")
    tab.page.reload(wait_until="commit")
    tab.page.wait_for_selector("text=Reading the model")
    tab.page.wait_for_selector("octabox-create button.primary:not([disabled])")
    tab.make("a red circle", **STEPS)
    assert "Done" in tab.page.inner_text("octabox-create .result"), tab.page.inner_text("octabox-create .result")
