"""The code blocks of the README run as they are written."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from code_blocks import DOCUMENTED, ROOT, run
from octabox.config.parsing import read_models
from octabox.media import audio, video
from octabox.media.limits import MediaLimits
from serving import running_server

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def size_of(file: Path) -> tuple[int, int]:
    """Return the width and height of an image."""
    with Image.open(file) as image:
        size: tuple[int, int] = image.size
        return size


@pytest.mark.slow
def test_the_command_line_block_runs(tmp_path: Path) -> None:
    """Every command of the block runs and writes the images that it names."""
    (block,) = [block for block in blocks("bash") if "octabox run demo" in block and "pipx" not in block]
    run(block, tmp_path)

    assert {"circle.png", "red.png"} == {file.name for file in tmp_path.glob("*.png")}
    assert (128, 128) == size_of(tmp_path / "circle.png")


def test_the_curl_block_runs(tmp_path: Path, address: str) -> None:
    """The block with curl returns two images."""
    (block,) = [block for block in blocks("bash") if "curl" in block]
    done = run(block.replace(DOCUMENTED, address), tmp_path)

    assert 2 == done.stdout.count('"url"')


def test_the_python_block_runs(tmp_path: Path, address: str) -> None:
    """The block with the openai client writes an image."""
    (block,) = blocks("python")
    (tmp_path / "block.py").write_text(block.replace(DOCUMENTED, address), encoding="utf-8")
    run(f"{sys.executable} block.py", tmp_path)

    assert (128, 128) == size_of(tmp_path / "star.png")


def test_the_yaml_block_is_a_model(tmp_path: Path) -> None:
    """The block with a configuration is valid."""
    (block,) = blocks("yaml")
    file = tmp_path / "model.yaml"
    file.write_text(block, encoding="utf-8")
    reading = read_models(file)

    assert isinstance(yaml.safe_load(block), dict)
    assert [] == [problem for problem in reading.problems if problem.severity == "error"]
    assert "stabilityai/sdxl-turbo" == reading.models[0].model


def table_cells(start: str) -> list[str]:
    """Return the commands in the README's tables that start with a text."""
    return [cell for cell in re.findall(r"\| `([^`]+)`", README) if cell.startswith(start)]


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a working folder with the models of `make tiny`."""
    folder = tmp_path_factory.mktemp("tiny")
    assert "tools/make_tiny_models.py models" in (ROOT / "Makefile").read_text(encoding="utf-8")
    run(f"{sys.executable} {ROOT}/tools/make_tiny_models.py models", folder)
    return folder


@pytest.mark.slow
def test_the_table_runs_on_the_command_line(tiny_models: Path) -> None:
    """Each command of the table writes an output file of the named type."""
    commands = table_cells("octabox run ")
    for command in commands:
        run(command, tiny_models)

    assert 5 == len(commands)
    decoded = video.decode((tiny_models / "star.mp4").read_bytes(), parameter="video", limits=MediaLimits())
    assert decoded.audio is not None
    assert audio.decode((tiny_models / "rain.wav").read_bytes(), parameter="rain", limits=MediaLimits()).rate
    assert {(128, 128), (32, 32)} == {size_of(tiny_models / name) for name in ("star.png", "depth.png")}
    assert (tiny_models / "depth.npy").is_file()
    assert (tiny_models / "words.txt").is_file()


@pytest.mark.slow
def test_the_table_runs_over_http(tiny_models: Path) -> None:
    """Each curl command of the table returns an output of the kind that its row names."""
    commands = table_cells("curl")
    with running_server(tiny_models / "models") as address:
        responses = [run(each.replace(DOCUMENTED, address), tiny_models).stdout for each in commands]
    kinds = [{output["kind"] for output in json.loads(response)["outputs"]} for response in responses]

    assert [{"image"}, {"video"}, {"audio"}, {"image", "array"}, {"text"}] == kinds


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "tiny"])
def test_the_make_blocks_name_targets(target: str) -> None:
    """Each make command of the README is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert f"make {target}" in README
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_guide_to_installing_has_all_extras() -> None:
    """Except those for the work on Octabox itself."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (section,) = re.findall(r"^\[project.optional-dependencies\]\n(.*?)^\[", project, re.MULTILINE | re.DOTALL)
    guide = (ROOT / "docs" / "guides" / "install.md").read_text(encoding="utf-8")

    extras = set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE)) - {"dev", "docs"}
    assert extras == set(re.findall(r"^\| `octabox\[([\w-]+)\]`", guide, re.MULTILINE))
