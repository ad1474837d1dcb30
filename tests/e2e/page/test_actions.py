"""What a person copies, drops, paints and selects, and a job that cannot be repeated as it was."""

from __future__ import annotations

from typing import Any

import pytest

from page_tab import Tab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Drops a text, a link or a file on an element, and returns whether the page has taken it.
DROP = """([selector, type, content]) => {
  const dataTransfer = new DataTransfer();
  if (type === "file") dataTransfer.items.add(new File(["a"], content));
  else dataTransfer.setData(type, content);
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  return !document.querySelector(selector).dispatchEvent(event);
}"""


def test_a_copy_without_a_clipboard(tab: Tab) -> None:
    """On a page that is neither local nor encrypted a selected text is copied, and what cannot be copied is said."""
    tab.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tab.page.fill("#field-prompt", "a red circle")
    # A browser lets a page copy after a key of a person.
    tab.page.keyboard.press("End")
    tab.page.select_option(".copy select", "YAML")
    tab.page.wait_for_selector("octabox-create .note:has-text('Copied.')")
    tab.page.fill("#field-prompt", "")
    tab.page.focus("#field-prompt")
    tab.page.keyboard.press("Control+V")
    tab.until("document.querySelector('#field-prompt').value.startsWith('# a red circle')")

    tab.page.evaluate("() => { document.execCommand = () => false; }")
    tab.page.select_option(".copy select", "YAML")
    tab.page.wait_for_selector("octabox-create .error:has-text('does not let the page copy')")
    assert 0 == tab.page.locator("octabox-create .note:has-text('Copied.')").count()


def test_what_is_dropped_is_taken_or_said(tab: Tab) -> None:
    """A text goes where it is dropped; a link to another site, and a file that cannot be read, are said at their field."""
    assert not tab.page.evaluate(DROP, ["#field-prompt", "text/plain", "a circle"])
    assert not tab.page.evaluate(DROP, ["#field-prompt", "text/uri-list", "https://example.com/"])
    assert tab.page.evaluate(DROP, ["octabox-create form", "text/uri-list", "https://example.com/"])

    tab.page.select_option("select[name=task]", "image-to-image")
    drop = "[data-control=image] .drop"
    tab.page.wait_for_selector(drop)
    assert tab.page.evaluate(DROP, [drop, "text/uri-list", "# an image\r\nhttps://example.com/a.png\r\n"])
    tab.page.wait_for_selector(f"{drop} .error:has-text('nothing from other sites')")
    tab.page.evaluate("() => { FileReader.prototype.readAsDataURL = function () { this.onerror(); }; }")
    assert tab.page.evaluate(DROP, [drop, "file", "folder"])
    tab.page.wait_for_selector(f"{drop} .error:has-text('folder cannot be read.')")


def test_the_painter_makes_a_stroke_again(tab: Tab) -> None:
    """By Ctrl+Shift+Z and Ctrl+Y, also with Caps Lock; a large brush stays large."""
    script = """async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 2400, height: 2400 });
      (await import("/ui/js/mask.js")).paintMask(canvas.toDataURL());
    }"""
    tab.page.evaluate(script)
    painter = "document.querySelector('octabox-mask')"
    tab.until(f"{painter}.strokes !== null")
    tab.page.keyboard.press("]")
    assert 300 == tab.page.evaluate(f"{painter}.size")

    box = tab.page.locator("octabox-mask canvas").bounding_box()
    tab.page.mouse.move(box["x"] + 50, box["y"] + 50)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 90, box["y"] + 50, steps=3)
    tab.page.mouse.up()
    kept = tab.page.evaluate(f"{painter}.strokes.past[0].alpha.length")
    assert 0 < kept < 2400 * 2400 / 4
    painted = f"{painter}.pixels().data.some((each) => each > 0)"
    for keys, is_painted in (
        ("Control+z", False),
        ("Control+Shift+Z", True),
        ("Control+Z", False),
        ("Control+y", True),
    ):
        tab.page.keyboard.press(keys)
        assert is_painted == tab.page.evaluate(painted), keys


def test_a_range_in_a_gallery_that_grows(tab: Tab) -> None:
    """A range goes from the output that was chosen, wherever that is by now; the viewer shows what is known by now."""
    script = """async () => {
      const { history } = await import("/ui/js/history.js");
      const text = { kind: "text", media_type: "text/plain", text: "words", metadata: {}, tags: [] };
      const made = (key, star = false) => ({ ...text, key, star });
      history.load = async () => {};
      window.show = (keys, star) => { history.items = keys.map((key) => made(key, star)); history.changed(); };
      window.show(["a/0", "b/0", "c/0", "d/0"]);
    }"""
    tab.page.evaluate(script)
    tab.page.click("nav >> text=Gallery")
    boxes = tab.page.locator("li.cell input[type=checkbox]")
    boxes.nth(1).click()
    tab.page.evaluate("window.show(['new/0', 'a/0', 'b/0', 'c/0', 'd/0'])")
    tab.until("document.querySelectorAll('li.cell').length === 5")
    boxes.nth(3).click(modifiers=["Shift"])
    chosen = "[...document.querySelector('octabox-gallery').chosen]"
    assert ["b/0", "c/0"] == tab.page.evaluate(chosen)

    tab.page.evaluate("window.show(['a/0', 'c/0'])")
    tab.until(f"{chosen}.length === 1")
    tab.page.locator("li.cell button.thumb").nth(1).click()
    tab.page.wait_for_selector("dialog.viewer button:text-is('Star')")
    tab.page.evaluate("window.show(['a/0', 'c/0'], true)")
    tab.page.wait_for_selector("dialog.viewer button:text-is('Remove star')")
    tab.page.evaluate("window.show(['a/0'])")
    tab.page.wait_for_selector("dialog.viewer", state="detached")


def test_the_text_of_the_output_that_is_shown(tab: Tab) -> None:
    """An error response is no text, and an answer that comes late is not shown for another output."""
    late: list[Any] = []

    def hold(route: Any) -> None:
        late.append(route)

    tab.page.route("**/results/late", hold)
    tab.page.route("**/results/gone", lambda route: route.fulfill(status=404, body="a page"))
    script = """(url) => {
      window.view ??= document.body.appendChild(document.createElement("octabox-output"));
      window.view.output = { kind: "text", media_type: "text/plain", url };
    }"""
    tab.page.evaluate(script, "/results/late")
    tab.until("document.querySelector('body > octabox-output pre') !== null")
    tab.page.evaluate(script, "/results/gone")
    text = "document.querySelector('body > octabox-output pre').textContent"
    tab.until(f"{text} === 'The server answered with status 404.'")
    late[0].fulfill(body="late words")
    tab.page.wait_for_timeout(300)
    assert "The server answered with status 404." == tab.page.evaluate(text)


def test_a_job_that_the_form_does_not_have_is_not_sent(tab: Tab) -> None:
    """Where its model is gone, that is said and nothing is sent; where all is there, it is sent with what has no control."""
    sent: list[Any] = []
    tab.page.on("request", lambda each: sent.append(each.post_data_json) if each.method == "POST" else None)
    script = """([model, styles]) => {
      const params = { prompt: "a red circle", num_inference_steps: 2 };
      const found = { model, task: "text-to-image", params, styles, extra: { keep_alive: 60 } };
      const event = new CustomEvent("open-parameters", { detail: { action: "retry", found } });
      document.querySelector("main").dispatchEvent(event);
    }"""
    tab.page.evaluate(script, ["gone", []])
    tab.page.wait_for_selector("octabox-create .note:has-text('Not used: Model gone.')")
    tab.page.evaluate(script, ["demo", ["gone"]])
    tab.page.wait_for_selector("octabox-create .note:has-text('Not used: style gone.')")
    assert [] == [each for each in sent if "params" in each]

    with tab.page.expect_request("**/v1/jobs") as request:
        tab.page.evaluate(script, ["demo", []])
    assert (60, "demo") == (request.value.post_data_json["keep_alive"], request.value.post_data_json["model"])
    tab.page.click("octabox-create .request button:text-is('Leave out')")
    assert 0 == tab.page.locator("text=keep_alive 60").count()


def test_the_names_of_the_screens_stay_where_they_were_moved(tab: Tab) -> None:
    """On a narrow screen they scroll, and go to the screen that is opened, but not when something else changes."""
    tab.page.set_viewport_size({"width": 390, "height": 800})
    tab.open("system")
    left = "document.querySelector('nav').scrollLeft"
    tab.until(f"{left} > 0")
    tab.page.evaluate(f"{left} = 0")
    tab.page.evaluate("document.querySelector('octabox-app').requestUpdate()")
    tab.page.wait_for_timeout(300)
    assert 0 == tab.page.evaluate(left)
