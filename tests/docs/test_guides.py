"""The commands of the guides and of CONTRIBUTING run as they are written."""

from __future__ import annotations

import configparser
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

from code_blocks import ROOT, Block, blocks_of, commands_of, run_block
from octabox.cli.main import cli
from octabox.config.parsing import read_models
from octabox.config.settings import Settings, variable
from serving import running_server

DOCS = ROOT / "docs"
GUIDES = [DOCS / "index.md", *sorted((DOCS / "guides").glob("*.md"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
DEPLOY = ROOT / "examples" / "deploy"

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
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands_of(block.text):
        if words[0] == "octabox":
            assert [] == unknown_options(words[1:]), f"{block}: {words}"
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word and not word.startswith("-")} <= targets


def unknown_options(words: list[str]) -> list[str]:
    """Return the words of an octabox command that are not an option of its verb."""
    command = cli.get_command(None, words[0])  # type: ignore[arg-type] # the group does not read its context
    assert command is not None, f"there is no verb {words[0]!r}"
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    given = [word.partition("=")[0] for word in words[1:] if word.startswith("-") and not word[1:2].isdigit()]
    return [word for word in given if word not in {*known, "-h", "--help"}]


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


def test_the_systemd_unit_is_valid() -> None:
    """The unit has its sections, starts an existing verb with existing options, and sets existing variables."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign] # systemd's names have capitals
    unit.read(DEPLOY / "octabox.service")
    (words,) = commands_of(unit["Service"]["ExecStart"])

    assert ["Unit", "Service", "Install"] == unit.sections()
    assert words[0].endswith("/octabox")
    assert [] == unknown_options(words[1:])
    assert octabox_variables(unit["Service"]["Environment"]) <= {variable(name) for name in Settings.model_fields}


def test_the_dockerfile_is_valid() -> None:
    """The Dockerfile copies existing files, sets existing variables, and starts an existing verb."""
    lines = [
        line.split()
        for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    copied = [name for words in lines if words[0] == "COPY" for name in words[1:-1]]
    text = "\n".join(" ".join(words) for words in lines)

    assert [] == [name for name in copied if not (ROOT / name).exists()]
    assert octabox_variables(text) <= {variable(name) for name in Settings.model_fields}
    assert 'ENTRYPOINT ["octabox"]' in text
    assert [] == unknown_options(["serve"])


def octabox_variables(text: str) -> set[str]:
    """Return the variables of Octabox that a text sets."""
    return set(re.findall(r"\b(OCTABOX_\w+)=", text))
