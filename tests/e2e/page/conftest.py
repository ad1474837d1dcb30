"""A browser, a server with the embedded model and its LoRAs, and the page in both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from page_tab import Tab, watch
from serving import running_server
from trained import LORAS

#: Names of the browser on Debian and elsewhere.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

#: Flags for a browser in a container without a screen, which is not to ask its maker's hosts for anything.
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return Chromium, until the end of the module: while Playwright's event loop runs, other tests cannot run theirs."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("Chromium is not installed, so the page is not tested: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with the embedded model and its LoRAs, one of which has a preview."""
    loras = tmp_path_factory.mktemp("loras")
    for file in Path(LORAS).glob("*.safetensors"):
        shutil.copy(file, loras)
    Image.new("RGB", (32, 32), (220, 60, 90)).save(loras / "hearts.preview.png")
    with running_server(tmp_path_factory.mktemp("models"), "--loras", str(loras)) as url:
        yield url


@pytest.fixture
def tab(browser: Any, site: str) -> Iterator[Tab]:
    """Return a tab with its own storage; at the end nothing has gone wrong in it, and it has asked no other host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    tab = watch(context.new_page(), site)
    yield tab
    context.close()
    assert [] == tab.problems
    assert {urlsplit(site).netloc} >= tab.hosts
