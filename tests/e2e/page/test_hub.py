"""Models of the Hub on the page: found, downloaded with progress, used; a gated one says where its terms are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_hub import LocalHub, folder_files
from octabox import demo
from page_tab import PATIENCE, watch
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def token() -> str:
    """Return the token of the server."""
    return ""


@pytest.fixture
def place(tmp_path: Path, token: str) -> Iterator[tuple[LocalHub, str]]:
    """Return a Hub, and the address of a server with an empty cache that uses it."""
    files = folder_files(demo.FOLDER)
    with LocalHub().running() as hub:
        hub.add("org/shapes", files)
        hub.add("org/shapes-gated", files, gated="auto", members={"alice"})
        environment = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": token,
        }
        with running_server(tmp_path / "models", environment=environment) as url:
            yield hub, url


def test_search_download_and_use(browser: Any, place: tuple[LocalHub, str]) -> None:
    """The search lists both, the open one is downloaded and makes an image, the gated one names its page."""
    hub, url = place
    context = browser.new_context()
    context.set_default_timeout(60_000)
    tab = watch(context.new_page(), url)
    tab.open("models")
    tab.page.fill("input[name=hub-words]", "shapes")
    tab.page.click("octabox-hub >> text=Search")
    tab.page.wait_for_selector("octabox-hub th[aria-sort=descending]:has-text('Downloads')")
    for column, sort in (("Size", "size"), ("Likes", "likes"), ("Updated", "updated")):
        with tab.page.expect_response(lambda each, sort=sort: f"sort={sort}" in each.url) as answer:
            tab.page.click(f"octabox-hub th button:text-is('{column}')")
        assert 200 == answer.value.status
        tab.page.wait_for_selector(f"octabox-hub th[aria-sort=descending]:has-text('{column}')")
    tab.page.click("tr[data-repo='org/shapes-gated'] >> text=Download")
    for _ in range(2):
        tab.page.wait_for_selector("dialog.gated:has-text('org/shapes-gated is gated')", timeout=PATIENCE)
        page = tab.page.locator("dialog.gated a")
        assert (f"{hub.url}/org/shapes-gated", "_blank") == (page.get_attribute("href"), page.get_attribute("target"))
        with tab.page.expect_request("**/v1/hub/pulls"):
            tab.page.click("dialog.gated >> text=Try again")
    tab.page.click("dialog.gated >> text=Close", timeout=PATIENCE)
    link = tab.page.locator(".pull[data-state=failed] a").first.get_attribute("href")
    assert f"{hub.url}/org/shapes-gated" == link
    tab.page.click("tr[data-repo='org/shapes'] >> text=Download")
    tab.page.wait_for_selector(".pull[data-state=completed]", timeout=PATIENCE)

    tab.page.locator("tr[data-model=shapes] >> text=Use").click(timeout=PATIENCE)
    tab.page.wait_for_function("() => document.querySelector('select[name=model]').value === 'shapes'")
    tab.make("a red circle", num_inference_steps=3)
    assert [128, 128] == tab.size()
    context.close()
    assert [] == tab.problems


@pytest.mark.parametrize("token", ["hf_alice"])
def test_a_gated_model_is_downloaded_with_the_token_of_the_server(browser: Any, place: tuple[LocalHub, str]) -> None:
    """The page asks for no token: that of the server's user is sent, where the user has accepted the terms."""
    hub, url = place
    context = browser.new_context()
    context.set_default_timeout(60_000)
    tab = watch(context.new_page(), url)
    tab.open("models")
    tab.page.fill("input[name=hub-words]", "shapes")
    tab.page.click("octabox-hub >> text=Search")
    tab.page.click("tr[data-repo='org/shapes-gated'] >> text=Download")
    tab.page.wait_for_selector(".pull[data-state=completed]", timeout=PATIENCE)
    context.close()

    assert {"hf_alice"} == {token for _, path, token in hub.asked if "shapes-gated/resolve" in path}
    assert [] == tab.problems


def test_downloads_by_url_and_local_files(browser: Any, tmp_path: Path) -> None:
    """A download by URL has a name; only what can be downloaded again or deleted has a button; names may have any character."""
    loras = tmp_path / "loras"
    loras.mkdir()
    (loras / "own.safetensors").write_bytes(b"x")
    for name in ("style", "style#2"):
        (loras / f"{name}.safetensors").symlink_to(tmp_path / "gone")
    with running_server(tmp_path / "models", "--loras", str(loras)) as url:
        pull = {"url": "https://weights.invalid/ink.safetensors", "sha256": "0" * 64}
        assert 202 == httpx.post(f"{url}/v1/hub/pulls", json=pull, trust_env=False).status_code
        context = browser.new_context()
        context.set_default_timeout(60_000)
        tab = watch(context.new_page(), url)
        tab.page.on("dialog", lambda dialog: dialog.accept())
        tab.open("models")
        assert "ink.safetensors" == tab.page.inner_text(".pull[data-state=failed] strong")
        rows = {name: tab.page.locator(f"tr[data-cached='{name}']") for name in ("own", "style", "style#2")}
        buttons = {name: row.locator("button").all_inner_texts() for name, row in rows.items()}
        rows["style#2"].locator("button:text-is('Delete')").click()
        rows["style#2"].wait_for(state="detached")
        left = sorted(each.name for each in loras.iterdir())
        context.close()

    assert {"own": [], "style": ["Delete"], "style#2": ["Delete"]} == buttons
    assert ["own.safetensors", "style.safetensors"] == left
    assert [] == tab.problems
