"""The guide from a search to an image: its commands run as they are written, against a Hub with the embedded model."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_blocks import ROOT, blocks_of, run
from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.cli.resident.launcher import end_servers
from octabox.hub.cache_layout import CachedRepo
from trained import HEARTS


@pytest.fixture
def runtime() -> Iterator[str]:
    """Return a runtime folder with a short path, whose servers end with the test."""
    with tempfile.TemporaryDirectory(prefix="ob", ignore_cleanup_errors=True) as name:
        yield name
        end_servers(Path(name, "octabox"), only_idle=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_search_to_image(local_hub: LocalHub, tmp_path: Path, runtime: str) -> None:
    """Each block that needs the Hub, in its order: search, login, pull, image, LoRA, list, removal, and use by the Hub id."""
    files = folder_files(demo.FOLDER)
    halves = {re.sub(r"\.safetensors$", ".fp16.safetensors", name): text for name, text in files.items()}
    local_hub.add("stabilityai/sdxl-turbo", {**files, **halves}, pipeline_tag="text-to-image")
    local_hub.add("ORG/LORA", {"pytorch_lora_weights.safetensors": Path(HEARTS).read_bytes()}, tags=["lora"])
    scripts = [each.text for each in blocks_of(ROOT / "docs/guides/models.md") if each.reason == "needs the Hub"]
    printed = []
    # As users do: the models stay in the memory of a server in the background, of which a removal has to know.
    environ = {"OCTABOX_RUN_SERVER": "true", "XDG_RUNTIME_DIR": runtime}
    for script in scripts:
        answered = script.replace("octabox login", "echo hf_alice | octabox login")
        answered = re.sub(r"^(octabox (?:pull|rm) .*)$", r"\1 --yes", answered, flags=re.MULTILINE)
        printed.append(run(answered, tmp_path, **environ).stdout)
    everything = "".join(printed)

    assert len(scripts) >= 7
    assert "stabilityai/sdxl-turbo" in printed[0]
    assert "hf_alice" not in everything
    assert {"lighthouse.png", "watercolour.png"} <= {each.name for each in tmp_path.glob("*.png")}
    assert "link to ORG/LORA" in everything
    assert not CachedRepo("ORG/LORA").folder.exists()
    # The last command downloads what was removed before.
    assert CachedRepo("stabilityai/sdxl-turbo").folder.exists()
    assert not (tmp_path / "models" / "loras" / "watercolour.safetensors").exists()
