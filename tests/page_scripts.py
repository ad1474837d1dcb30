"""The scripts of the web page in node, for what they do without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from octabox.frontends.http.ui.routes import FOLDER


def copy_scripts(folder: Path) -> Path:
    """Copy the scripts into a folder, as modules of node, and return it; without node, skip the test."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed, so the scripts of the page are not tested")
    shutil.copytree(FOLDER / "js", folder / "js")
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def run(scripts: Path, code: str, value: object = None) -> Any:
    """Return what a script prints as JSON.

    Args:
        scripts: The folder of the scripts.
        code: The script, which has ``value``.
        value: Its input.
    """
    (scripts / "value.json").write_text(json.dumps(value))
    (scripts / "test.js").write_text(
        "import { readFileSync } from 'node:fs';\n"
        "const value = JSON.parse(readFileSync(new URL('value.json', import.meta.url)));\n"
        f"{code}\n"
    )
    done = subprocess.run(["node", str(scripts / "test.js")], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
