"""The blocks of the page on the native API run as they are printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "native-api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_blocks_run(tmp_path: Path, address: str) -> None:
    """Each block gets what the page says, from a server with the embedded model."""
    shutil.copy(ROOT / "docs" / "images" / "embedded.png", tmp_path / "image.png")
    made, changed, watched, looked = (
        run(block.replace("http://127.0.0.1:8080", address), tmp_path) for block in BLOCKS
    )

    assert ("circle", "image/webp", 1) == (
        json.loads(made)["id"],
        json.loads(made)["outputs"][0]["media_type"],
        json.loads(made)["outputs"][0]["seed"],
    )
    assert "image-to-image" == json.loads(changed)["task"]
    assert ["progress", "output", "done"] == list(dict.fromkeys(re.findall(r"^event: (\w+)$", watched, re.MULTILINE)))
    assert 2 == looked.count('"status":"completed"')


def run(script: str, folder: Path) -> str:
    """Return what a shell script prints."""
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=True, timeout=240
    )
    return done.stdout
