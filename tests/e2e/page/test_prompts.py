"""What helps to write a request: tokens, styles, wildcards, formats, outpainting by handles, and copies for other programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from octabox.config.model import ModelConfig
from page_tab import Tab
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS: dict[str, Any] = {"num_inference_steps": 4}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with a style and two wildcards."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "styles.csv").write_text("name,prompt,negative_prompt\nOn blue,{prompt} on a blue background,\n")
    (folder / "wildcards").mkdir()
    (folder / "wildcards" / "colour.txt").write_text("red\n")
    (folder / "wildcards" / "shape.txt").write_text("circle\n")
    flags = ("--styles", str(folder / "styles.csv"), "--wildcards", str(folder / "wildcards"))
    with running_server(tmp_path_factory.mktemp("models"), *flags) as url:
        yield url


def test_tokens_are_counted(tab: Tab) -> None:
    """Each tokenizer's tokens are below the prompt, and too many are marked."""
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.wait_for_selector(".tokens:has-text('Tokenizer: 5 of 24 tokens')")
    assert 0 == tab.page.locator(".tokens .over").count()
    tab.page.fill("#field-prompt", "a red circle " * 20)
    tab.page.wait_for_selector(".tokens .over")
    tab.page.fill("#field-prompt", "")
    tab.page.wait_for_selector(".tokens", state="detached")


def test_tokens_are_those_of_the_prompt_that_is_shown(tab: Tab) -> None:
    """They are counted again when the history or the syntax changes, and an answer about an earlier state is dropped."""
    tab.make("a red circle", **STEPS)
    tab.page.fill("#field-prompt", "a red circle and a (blue:1.2) star")
    counted = "() => document.querySelector('.tokens')?.innerText || ''"
    plain = tab.until(f"{counted[6:]}.includes('of 24') && {counted[6:]}")
    tab.page.select_option("#syntax", "a1111")
    tab.until(f"(plain) => ![plain, ''].includes(({counted})())", plain)
    tab.page.focus("#field-prompt")
    tab.page.keyboard.press("Alt+ArrowUp")
    assert "a red circle" == tab.page.input_value("#field-prompt")
    tab.page.wait_for_selector(".tokens:has-text('Tokenizer: 5 of 24 tokens')")

    late: list[Any] = []
    tab.page.route("**/tokens", lambda route: late.append(route), times=1)  # noqa: PLW0108 (Playwright sets attributes of it)
    tab.page.fill("#field-prompt", "a red circle on a large white square")
    while not late:
        tab.page.wait_for_timeout(50)
    tab.page.select_option("#syntax", "plain")
    with tab.page.expect_response("**/tokens"):
        pass
    tab.page.wait_for_timeout(200)
    shown = tab.page.inner_text(".tokens")
    late[0].fulfill(json={"data": [{"tokenizer": "tokenizer", "tokens": 99, "max_tokens": 24}]})
    tab.page.wait_for_timeout(300)
    assert shown == tab.page.inner_text(".tokens")


def test_a_style_a_wildcard_and_a_format(tab: Tab) -> None:
    """They are chosen from what the server has, and the request and its image have them."""
    tab.page.fill("#field-prompt", "a red ")
    tab.page.focus("select[name=wildcard]")
    tab.page.keyboard.press("ArrowDown")
    assert "shape" == tab.page.input_value("select[name=wildcard]")
    assert "a red " == tab.page.input_value("#field-prompt")
    tab.page.focus(".prompt-parts button:text-is('Insert')")
    tab.page.keyboard.press("Enter")
    assert "a red __shape__" == tab.page.input_value("#field-prompt")
    assert "a1111" == tab.page.input_value("#syntax")
    tab.page.check("input[name=style][value='On blue']")
    tab.page.select_option("#format", "webp")
    with tab.page.expect_request("**/v1/jobs") as sent:
        tab.make("", **STEPS)
    body = sent.value.post_data_json
    url = tab.page.get_attribute("octabox-create .outputs img", "src")

    assert (["On blue"], {"format": "webp"}, "a1111") == (body["styles"], body["output"], body["prompt_syntax"])
    assert "image/webp" == httpx.get(url, trust_env=False).headers["content-type"]
    tab.open("gallery")
    assert "a red circle on a blue background" in tab.page.get_attribute("li.cell .thumb", "title")


def test_outpainting_by_handles(tab: Tab) -> None:
    """An edge is dragged, another one moved by keys; the image grows by as many pixels."""
    tab.make("a red circle on a white background", seed=1, **STEPS)
    tab.page.click("figcaption button:has-text('Use as input image')")
    tab.page.wait_for_selector("[data-control=image] .medium img")
    tab.page.click("summary:has-text('Workflow')")
    tab.page.check("input[name=workflow-outpaint]")
    edge = tab.page.locator(".edge[data-side=right]")
    edge.scroll_into_view_if_needed()
    tab.page.wait_for_timeout(200)
    box = edge.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 160, y, steps=4)
    tab.page.mouse.up()
    assert "64" == edge.get_attribute("aria-valuenow")
    assert min(reach(tab, ".edge[data-side=right]")) >= 24
    tab.page.focus(".edge[data-side=top]")
    for _ in range(2):
        tab.page.keyboard.press("ArrowUp")
    assert re.search("192 . 144 pixels", tab.page.inner_text("octabox-outpaint"))
    assert "16" == tab.page.input_value("#field-outpaint-top")
    with tab.page.expect_request("**/v1/jobs") as sent:
        tab.make("", strength=1, **STEPS)
    assert {"right": 64, "top": 16} == {
        key: value for key, value in sent.value.post_data_json["workflow"]["outpaint"].items() if value
    }
    assert "Done" in tab.page.inner_text("octabox-create .result"), tab.page.inner_text("octabox-create .result")
    assert [192, 144] == tab.size()


def reach(tab: Tab, selector: str) -> list[int]:
    """Return the width and the height in which the pointer reaches an element."""
    script = """(selector) => {
        const element = document.querySelector(selector);
        element.scrollIntoView({ block: "center", inline: "center" });
        const box = element.getBoundingClientRect();
        const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
        const hits = (dx, dy) => document.elementFromPoint(x + dx, y + dy) === element;
        const offsets = [...Array(100).keys()].map((each) => each - 49.5);
        return [offsets.filter((each) => hits(each, 0)).length, offsets.filter((each) => hits(0, each)).length];
    }"""
    found: list[int] = tab.page.evaluate(script, selector)
    return found


def copied(tab: Tab, kind: str) -> str:
    """Return what "Copy as" puts into the clipboard."""
    tab.page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    tab.page.select_option(".copy select", kind)
    text: str = tab.until("window.copied")
    return text


def fill(tab: Tab) -> None:
    """Fill in a form with what needs quotes."""
    tab.page.fill("#field-prompt", 'a "red" circle, it\'s 100 % \\ round')
    tab.page.fill("#field-num_inference_steps", "3")
    tab.page.fill("#seed", "7")


def test_a_copy_as_curl_runs(tab: Tab) -> None:
    """The command makes the image that the form would make."""
    fill(tab)
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["bash", "-c", copied(tab, "curl") + " -s"], capture_output=True, text=True, check=True, timeout=200
    )
    answer = yaml.safe_load(done.stdout)

    assert 7 == answer["outputs"][0]["seed"], done.stdout
    assert 'a "red" circle, it\'s 100 % \\ round' == answer["outputs"][0]["metadata"]["params"]["prompt"]


def test_a_copy_as_python_runs(tab: Tab) -> None:
    """The program prints the address of the image."""
    fill(tab)
    environment = {**os.environ, "NO_PROXY": "*"}
    command = [sys.executable, "-c", copied(tab, "Python")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200, env=environment)

    assert httpx.get(done.stdout.strip(), trust_env=False).content.startswith(b"\x89PNG")


def test_a_copy_as_yaml_is_a_configuration(tab: Tab) -> None:
    """It is the configuration of a model, with the parameters as its defaults."""
    fill(tab)
    found: dict[str, Any] = yaml.safe_load(copied(tab, "YAML"))
    config = ModelConfig.model_validate({"name": "copy", **found})

    assert 3 == config.defaults["num_inference_steps"]
    assert Path(config.model).name == "demo"
