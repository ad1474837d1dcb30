"""The screens of the web page by axe-core's rules, in light, in dark, and on a telephone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[3] / "tools" / "page"

SCREENS = ("create", "queue", "gallery", "models", "adapters", "grid", "system")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of axe-core."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, so the page is not checked by axe-core")
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(TOOLS / name, folder)
    command = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
    if subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=240).returncode:
        pytest.skip("npm could not install axe-core, so the page is not checked by it")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)], ids=["light", "dark", "telephone"]
)
def test_no_serious_findings(browser: Any, site: str, axe: str, scheme: str, width: int) -> None:
    """No screen has a serious finding, and none is wider than the window."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True)
    page = context.new_page()
    found = []
    for screen in SCREENS:
        page.goto(f"{site}/#/{screen}")
        page.wait_for_selector("main :is(form, section):visible", timeout=60_000)
        page.wait_for_timeout(300)
        page.evaluate(axe)
        violations = page.evaluate("async () => (await axe.run(document)).violations")
        found += [
            (screen, each["id"], each["nodes"][0]["html"][:200])
            for each in violations
            if each["impact"] in ("serious", "critical")
        ]
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found += [(screen, "wider than the window", str(overflow))] if overflow > 1 else []
    context.close()

    assert [] == found
