"""The commands of the guides and of CONTRIBUTING run as they are written."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from code_blocks import ROOT, Block, blocks_of, commands_of, run_block, unknown_options
from octabox.config.parsing import read_models
from octabox.config.settings import Settings
from serving import running_server

DOCS = ROOT / "docs"
GUIDES = [DOCS / "index.md", *sorted((DOCS / "guides").glob("*.md"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
LOCALAI_MAKEFILE = ROOT / "backends" / "localai" / "Makefile"

#: Folders of the repository that commands read.
READ = ("backends", "docs", "examples", "src", "tests")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a working folder that looks like the root of the repository, with an empty models folder."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in READ:
        (folder / name).symlink_to(ROOT / name)
    (folder / "models").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[str]:
    """Return the address of a server over the workspace's models."""
    with running_server(workspace / "models") as address:
        yield address


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_runs(page: Path, workspace: Path, server: str) -> None:
    """Each block runs in its order, every response is a success, and every named output file exists."""
    for block in blocks_of(page):
        if block.reason:
            continue
        printed = run_block(block, workspace, server)
        assert '"error"' not in printed, f"{block}: {printed}"
        for name in re.findall(r" -o ([\w/.-]+)", block.text):
            assert (workspace / name).stat().st_size, f"{block}: {name}"


@pytest.mark.slow
def test_contributing_runs(tmp_path: Path) -> None:
    """The blocks of CONTRIBUTING run in the root of the repository."""
    blocks = [block for block in blocks_of(ROOT / "CONTRIBUTING.md") if not block.reason]
    for block in blocks:
        if block.language == "python":
            file = tmp_path / "block.py"
            file.write_text(block.text, encoding="utf-8")
            subprocess.run([sys.executable, str(file)], cwd=tmp_path, check=True, timeout=240, capture_output=True)
        elif block.language == "bash":
            run_block(block, ROOT, "")

    assert blocks


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in ("bash", "sh")], ids=str)
def test_shell_commands_are_valid(block: Block) -> None:
    """A shell block parses; each octabox verb, its options and each make target exist."""
    subprocess.run(["bash", "-n", "-c", block.text], check=True, capture_output=True)
    makefiles = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "Makefile", LOCALAI_MAKEFILE))
    targets = set(re.findall(r"^([a-z-]+):", makefiles, re.MULTILINE))
    for words in commands_of(block.text):
        if words[0] == "octabox":
            assert [] == unknown_options(words[1:]), f"{block}: {words}"
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word and not word.startswith("-")} <= targets


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in ("yaml", "json", "toml")], ids=str)
def test_data_is_valid(block: Block, tmp_path: Path) -> None:
    """A block of YAML, JSON or TOML parses; one with the keys of a model is a valid configuration."""
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "toml" and find_spec("tomllib"):
        importlib.import_module("tomllib").loads(block.text)  # Python 3.11
    elif block.language == "yaml":
        content = yaml.safe_load(block.text)
        if isinstance(content, dict) and "model" in content:
            file = tmp_path / "model.yaml"
            file.write_text(block.text, encoding="utf-8")
            assert [] == [each for each in read_models(file).problems if each.severity == "error"]
        elif block.title == "production.yaml":
            assert set(content) <= set(Settings.model_fields)
