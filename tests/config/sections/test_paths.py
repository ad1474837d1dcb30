"""A text that no path can have is refused when a configuration is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox.config.discovery import discover
from octabox.config.model import ModelConfig

#: Texts that system functions raise errors about, with words of the problem.
TEXTS = {
    "a\0b": "must be a path, without a null character",
    "\ud800": "must be valid Unicode text",
    "x" * 256: "short enough for a path",
    "a/" + "x" * 300 + "/b": "short enough for a path",
    "x/" * 1100: "short enough for a path",
}

KEYS: dict[str, Any] = {
    "model": lambda text: {"model": text},
    "config": lambda text: {"model": "x", "config": text},
    "revision": lambda text: {"model": "x", "revision": text},
    "variant": lambda text: {"model": "x", "variant": text},
    "components.vae.model": lambda text: {"model": "x", "components": {"vae": {"model": text}}},
    "components.vae.subfolder": lambda text: {"model": "x", "components": {"vae": {"subfolder": text}}},
    "adapters.0.lora": lambda text: {"model": "x", "adapters": [{"lora": text}]},
    "ip_adapters.0.model": lambda text: {"model": "x", "ip_adapters": [{"model": text}]},
    "allow_remote_code.0.repo": lambda text: {"model": "x", "allow_remote_code": [{"repo": text}]},
    "stages.0.model": lambda text: {"stages": [{"model": text}, "y"]},
}


@pytest.mark.parametrize("text", TEXTS, ids=repr)
@pytest.mark.parametrize("key", KEYS)
def test_each_key_with_a_path(tmp_path: Path, key: str, text: str) -> None:
    """The problem names the key; the folder is read without an error."""
    (tmp_path / "m.yaml").write_text(json.dumps(KEYS[key](text)))
    found = discover(tmp_path).problems

    assert any(each.key == key and TEXTS[text] in each.message for each in found), found
    assert all(each.severity == "error" for each in found)


def test_names_of_files_in_any_script() -> None:
    """A folder may have any name that the file system takes."""
    for name in ("models/\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ARTIST PALETTE}", "a\xa0b", "x" * 255):
        assert name == ModelConfig(name="m", model=name).model
