"""The page while its server is stopped and started again."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from page_tab import PATIENCE, watch
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def test_a_job_survives_the_server(browser: Any, tmp_path: Path) -> None:
    """What runs when the server is stopped runs again on the next one, and the page shows its end without a reload."""
    flags = ("--port", str(free_port()), "--data-dir", str(tmp_path / "data"))
    context = browser.new_context()
    context.set_default_timeout(60_000)
    with running_server(tmp_path, *flags) as url:
        tab = watch(context.new_page(), url)
        tab.page.fill("#field-prompt", "a red circle")
        tab.page.fill("#field-num_inference_steps", "300")
        tab.send()
        tab.page.wait_for_selector("octabox-create .result[data-state=in_progress]", timeout=PATIENCE)
    tab.page.wait_for_selector(".lost", timeout=PATIENCE)
    with running_server(tmp_path, *flags):
        tab.page.wait_for_selector("octabox-create .result[data-state=completed] img", timeout=PATIENCE * 2)
        assert [128, 128] == tab.size()
        tab.page.wait_for_selector(".lost", state="detached", timeout=PATIENCE)
    context.close()
