"""The verb convert."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open

from embedded import Calls, finish
from octabox import demo
from octabox.cli.main import cli
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.errors import ForbiddenPathError, InvalidParameterError, ModelNotFoundError


def convert(*arguments: object) -> Result:
    """Run the verb; an error of ours is raised."""
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)], catch_exceptions=False)


def types(folder: Path) -> set[str]:
    """Return the types of the UNet's numbers."""
    found = set()
    for file in (folder / "unet").glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)
    return found


async def test_a_converted_model_makes_the_same_image(tmp_path: Path, engine: LocalEngine) -> None:
    """Bit by bit, in float32, which is what is written unless another type is asked for."""
    result = await asyncio.to_thread(convert, "demo", tmp_path / "out")

    assert 0 == result.exit_code
    assert "StableDiffusionPipeline" in result.output
    assert [tmp_path / "out"] == list(tmp_path.iterdir())
    assert {"F32"} == types(tmp_path / "out")
    made = [await _pixels(engine, folder) for folder in (demo.FOLDER, tmp_path / "out")]
    assert made[0] == made[1]


async def _pixels(engine: LocalEngine, folder: Path) -> bytes:
    """Return the pixels of a model's image."""
    config = ModelConfig(name="converted", model=str(folder), dtype="float32")
    generation = await finish(engine, Calls(config)())
    await engine.unload(config.name)
    return generation.artifacts[0].content


def test_type_variant_and_size_of_files_are_chosen(tmp_path: Path) -> None:
    """Files carry the variant in their names, and none is much larger than asked for."""
    options = ("--dtype", "float16", "--variant", "fp16", "--max-shard-size", "500KB", "--json")
    result = convert("demo", tmp_path / "out", *options)

    assert (str(tmp_path / "out"), "StableDiffusionPipeline") == tuple(json.loads(result.stdout).values())[:2]
    files = [file.name for file in (tmp_path / "out" / "unet").glob("*.safetensors")]
    assert len(files) > 1
    assert all(".fp16" in name for name in files)
    assert {"F16"} == types(tmp_path / "out")
    (tmp_path / "new").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {(tmp_path / "new").stat().st_mode} == modes


def test_what_is_there_is_not_lost(tmp_path: Path) -> None:
    """Another folder is never replaced, a model only by force."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model_index.json").write_text('{"_class_name": "X"}')
    (tmp_path / "file").touch()

    for name, force in (("papers", "--force"), ("papers", "-v"), ("old", "-v"), ("file", "--force")):
        with pytest.raises(ForbiddenPathError, match=name):
            convert("demo", tmp_path / name, force)
    convert("demo", tmp_path / "old", "--force")

    assert "years of work" == (tmp_path / "papers" / "thesis.txt").read_text()
    assert (tmp_path / "old" / "unet").is_dir()
    assert {"papers", "old", "file"} == {path.name for path in tmp_path.iterdir()}


def test_nothing_is_left_of_a_conversion_that_failed(tmp_path: Path) -> None:
    """A model whose weights are damaged, and one that is not there."""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")

    with pytest.raises(Exception, match="broken"):
        convert(broken, tmp_path / "out")
    with pytest.raises(ModelNotFoundError):
        convert("nobody", tmp_path / "out")

    assert [broken] == list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["5", "GB", "5 potatoes", "-1GB"])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: str) -> None:
    """As click refuses an option, before any work begins."""
    result = convert("demo", tmp_path / "out", f"--max-shard-size={size}")

    assert 2 == result.exit_code
    assert "must be a size" in result.output


@pytest.mark.slow
def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    """The error names the place and asks about room, and nothing is left there. No file may become larger than 10 kB here."""
    command = f"ulimit -f 10; trap '' XFSZ; exec {sys.executable} -m octabox convert demo {tmp_path / 'out'}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=240)

    assert 0 < done.returncode < 64, done.stderr
    assert f"could not be written to {tmp_path / 'out'}" in done.stderr
    assert "Check the free disk space" in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_cascade_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since its first stage alone would be converted; the error names the stages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both.yaml").write_text("stages: [demo, {model: demo, device: cpu}]\n", encoding="utf-8")
    error = CliRunner().invoke(cli, ["convert", "both", "out", "--models", "."], standalone_mode=False).exception

    assert isinstance(error, InvalidParameterError)
    assert "'both' is a cascade of 2 stages, which cannot be converted as one model." == error.message
    assert "Name one of its stages: demo." == error.hint
    assert ["both.yaml"] == [file.name for file in tmp_path.iterdir()]
