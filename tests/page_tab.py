"""A tab of a browser with the web page, and what went wrong in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

#: Milliseconds for what a busy machine takes to make an image.
PATIENCE = 120_000


@dataclass
class Tab:
    """A tab of the browser, with what went wrong in it.

    Args:
        page: The tab.
        url: Address of the server.
        problems: Errors on its console.
        hosts: Hosts that it sent requests to.
    """

    page: Any
    url: str
    problems: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open(self, screen: str = "create") -> None:
        """Show a screen."""
        self.page.goto(f"{self.url}/#/{screen}")
        if screen == "create":
            self.page.wait_for_selector("octabox-create button.primary:not([disabled])")

    def make(self, prompt: str = "", **values: object) -> None:
        """Fill in the form, send it by the keyboard, and wait for the end."""
        if prompt:
            self.page.fill("#field-prompt", prompt)
        for name, value in values.items():
            self.page.fill(f"#{name if name in ('seed', 'outputs') else f'field-{name}'}", str(value))
        self.send()
        self.page.wait_for_selector(
            "octabox-create .result:is([data-state=completed], [data-state=failed])", timeout=PATIENCE
        )

    def send(self) -> None:
        """Send the form by the keyboard."""
        self.page.keyboard.press("Control+Enter")
        # The request of this moment, and not an earlier one, is what the page then shows.
        self.page.wait_for_timeout(100)

    def until(self, expression: str, argument: object = None) -> Any:
        """Wait until an expression of JavaScript is true, and return it; Playwright's own way is against the page's policy."""
        end = time.monotonic() + PATIENCE / 1000
        while not (found := self.page.evaluate(expression, argument)):
            assert time.monotonic() < end, f"{expression} has not become true"
            self.page.wait_for_timeout(50)
        return found

    def size(self) -> list[int]:
        """Return the width and height of the image at the right."""
        script = "async (image) => { await image.decode(); return [image.naturalWidth, image.naturalHeight]; }"
        found: list[int] = self.page.eval_on_selector("octabox-create .outputs img", script)
        return found


def watch(page: Any, site: str) -> Tab:
    """Return a tab whose console and requests are watched."""
    tab = Tab(page, site)
    page.on("pageerror", lambda error: tab.problems.append(str(error)))
    page.on(
        "request", lambda request: tab.hosts.add(urlsplit(request.url).netloc) if "http" in request.url[:4] else None
    )
    # An error response is on the console too; the tests that provoke one look for it themselves.
    page.on(
        "console",
        lambda line: (
            tab.problems.append(line.text)
            if line.type == "error" and "the server responded with a status of 4" not in line.text
            else None
        ),
    )
    tab.open()
    return tab
