"""The verb adapters, and the option --lora of the verb run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from octabox.cli.main import cli
from octabox.cli.requests.parameters import parse_lora
from octabox.errors import AdapterNotFoundError, ModelNotFoundError
from octabox.media.metadata.chunks import read_metadata
from octabox.types import AdapterChoice
from trained import EMBEDDINGS, HEARTS, LORAS, PROMPT, shows

FOLDERS = ("--loras", str(LORAS), "--embeddings", str(EMBEDDINGS))


def printed(*arguments: str) -> str:
    """Return what the verb prints."""
    return CliRunner().invoke(cli, ["adapters", *arguments], catch_exceptions=False, standalone_mode=False).output


def test_all_are_listed() -> None:
    """Each adapter is a line; the last line has the count."""
    lines = printed(*FOLDERS).splitlines()

    assert ["hearts", "LoRA", "octabox-demo", "4", "246.6", "kB"] == next(
        line for line in lines if line.startswith("hearts")
    ).split()
    assert "4 adapters." == lines[-1]


def test_whether_they_fit_a_model(tmp_path: Path) -> None:
    """For a model by its name, and for one by its place; one that is not there is an error."""
    rows = json.loads(printed(*FOLDERS, "--models", str(tmp_path), "--model", "demo", "--json"))

    assert {"hearts": True, "frame": True, "ruby": True, "plumstar": True} == {row["name"]: row["fits"] for row in rows}
    assert "yes" in printed(*FOLDERS, "--models", str(tmp_path), "--model", "demo")
    with pytest.raises(ModelNotFoundError):
        printed(*FOLDERS, "--models", str(tmp_path), "--model", "nothing")


def test_of_none_the_folders_are_told(tmp_path: Path) -> None:
    """They are those of the models folder, if no others are named."""
    assert f"There are no adapters in {tmp_path}/loras and {tmp_path}/embeddings.\n" == printed(
        "--models", str(tmp_path)
    )


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("style", AdapterChoice("style")),
        ("style:0.5", AdapterChoice("style", 0.5)),
        ("style:-1", AdapterChoice("style", -1)),
        ("a:b", AdapterChoice("a:b")),
        ("a:b:2", AdapterChoice("a:b", 2)),
        ("./a.safetensors", AdapterChoice("./a.safetensors")),
    ],
)
def test_what_the_option_means(text: str, choice: AdapterChoice) -> None:
    """A name, and behind the last colon a strength."""
    assert choice == parse_lora(text)


def run(*arguments: str) -> Any:
    """Run the verb run with the embedded model."""
    return CliRunner().invoke(cli, ["run", "demo", PROMPT, "--seed", "0", *arguments], standalone_mode=False)


@pytest.mark.slow
def test_an_image_with_loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and by path; the terminal shows how many tensors were used, the metadata the weight."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(LORAS, tmp_path / "models" / "loras")
    result = run("--lora", f"{HEARTS}:1", "--lora", "frame", "-o", "x.png")
    facts = read_metadata((tmp_path / "x.png").read_bytes())

    assert 0 == result.exit_code, result.exception
    assert ("heart", "red", "black") == shows(Image.open(tmp_path / "x.png"))
    assert "LoRA frame: 128 of 128 tensors, weight 1" in result.output
    assert [HEARTS, "frame"] == [each["lora"] for each in facts["adapters"]]


def test_the_call_is_told(tmp_path: Path) -> None:
    """Without making it; and one that is not there is an error before that."""
    dry_run = json.loads(run("--lora", f"{HEARTS}:0.5", "--dry-run").output)

    assert (HEARTS, 0.5) == (dry_run["runs"][0]["adapters"][0]["lora"], dry_run["runs"][0]["adapters"][0]["weight"])
    assert isinstance(run("--lora", "nothing", "--models", str(tmp_path)).exception, AdapterNotFoundError)
