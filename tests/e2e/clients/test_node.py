"""Clients in JavaScript against a real server: the packages of `node/package.json`, unmodified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "node"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts and the packages that the lock file names."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed, so the clients in JavaScript are not tested")
    folder = tmp_path_factory.mktemp("clients") / "node"
    shutil.copytree(SCRIPTS, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        pytest.skip(f"npm could not install the clients, so they are not tested: {done.stderr[-500:]}")
    return folder


def run(packages: Path, script: str, base: str) -> dict[str, Any]:
    """Return what a script prints."""
    command, env = ["node", script], {**os.environ, "BASE": base}
    done = subprocess.run(command, cwd=packages, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_openai(packages: Path, base: str) -> None:
    """OpenAI's client: an image, an edit with a file, a stream, and the class of an error."""
    printed = run(packages, "openai.mjs", base)

    assert ("PNG", "PNG") == (printed["generated"], printed["edited"])
    assert ["image_generation.partial_image", "image_generation.completed"] == printed["events"]
    assert ["NotFoundError", 404, "model_not_found"] == printed["refusal"]


def test_vercel(packages: Path, base: str) -> None:
    """Vercel's AI SDK reads base64 only, and sends no format for this model's name."""
    printed = run(packages, "vercel.mjs", base)
    name, status, message = printed["refusal"]

    assert (["image/png"], ["image/png"], []) == (printed["generated"], printed["edited"], printed["warnings"])
    assert ("AI_APICallError", 404) == (name, status)
    assert "There is no model 'nothere'." in message
