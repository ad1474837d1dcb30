"""The verb pipelines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.plugins import FOLDER_VARIABLE
from octabox.cli.main import cli
from octabox.errors import PipelineNotFoundError, TaskNotFoundError


def printed(*arguments: str) -> str:
    """Return what the verb prints."""
    return CliRunner().invoke(cli, ["pipelines", *arguments], catch_exceptions=False).output


def test_the_list_is_uncut_where_no_one_looks() -> None:
    """In a pipe each pipeline is one line, and the last line has the count."""
    lines = printed().splitlines()

    assert lines[0].startswith("PIPELINE")
    row = next(line for line in lines if line.startswith("StableDiffusionInpaintPipeline "))
    assert ["StableDiffusionInpaintPipeline", "inpainting", "image", "image,", "mask_image,"] == row.split()[:5]
    assert f"{len(lines) - 3} pipelines" in lines[-1]


def test_json_is_for_programs() -> None:
    """Each pipeline has a name, tasks, parameters and an output."""
    found = {entry["name"]: entry for entry in json.loads(printed("--json"))}

    flux = found["FluxPipeline"]
    assert len(found) >= 300
    assert (["text-to-image"], "image") == (flux["tasks"], flux["output"])
    assert {"name", "annotation", "default", "required", "kind"} <= flux["parameters"][0].keys()


def test_a_task_ranks_the_list() -> None:
    """With a task, by any of its names, the simplest class comes first and other pipelines are omitted."""
    names = [entry["name"] for entry in json.loads(printed("--task", "inpaint", "--json"))]

    assert "StableDiffusionInpaintPipeline" == names[0]
    assert "StableDiffusionPipeline" not in names


def test_one_pipeline_is_described() -> None:
    """With a name, its tasks, siblings, parts and parameters are shown, with type, default and words."""
    page = printed("StableDiffusionPipeline")

    assert "StableDiffusionImg2ImgPipeline (image-to-image)" in page
    assert "vae, text_encoder, tokenizer, unet, scheduler, safety_checker?" in page
    row = next(line for line in page.splitlines() if line.startswith("num_inference_steps "))
    assert ["num_inference_steps", "int", "50", "The", "number", "of", "denoising", "steps."] == row.split()[:8]


def test_packages_are_shown() -> None:
    """With a name, the packages that it needs are shown, and those that are not installed."""
    page = printed("PixArtAlphaPipeline")
    installed = {
        need["module"]: need["installed"] for need in json.loads(printed("ChronoEditPipeline", "--json"))["needs"]
    }

    assert "ftfy (for some settings)" in page
    assert {"ftfy": True} == installed


def test_sizes_are_shown() -> None:
    """With a name, the sizes that it takes are shown."""
    page = printed("WanPipeline")

    assert "height and width multiples of 16; num_frames multiples of vae_scale_factor_temporal plus 1" in page


def test_one_pipeline_is_described_as_json() -> None:
    """With a name, JSON is one object."""
    assert "FluxPipeline" == json.loads(printed("FluxPipeline", "--json"))["name"]


@pytest.mark.parametrize(
    ("arguments", "error"), [(["FluxPipe"], PipelineNotFoundError), (["--task", "flying"], TaskNotFoundError)]
)
def test_unknown_names_are_typed_errors(arguments: list[str], error: type[Exception]) -> None:
    """What is not there is an error of ours, which the command line shows with its own exit code."""
    assert isinstance(CliRunner().invoke(cli, ["pipelines", *arguments]).exception, error)


def test_own_pipelines_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline in a file of the models folder is listed with the others."""
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    (tmp_path / "pipelines").mkdir()
    text = "from diffusers import DDPMPipeline\nclass TinyDreamPipeline(DDPMPipeline): pass\n"
    (tmp_path / "pipelines" / "tiny.py").write_text(text, encoding="utf-8")
    names = {entry["name"] for entry in json.loads(printed("--json", "--models", str(tmp_path)))}
    load_catalog.cache_clear()

    assert {"TinyDreamPipeline", "DDPMPipeline"} <= names


def test_the_list_needs_no_torch() -> None:
    """Neither the table nor JSON imports torch, diffusers or what only draws."""
    code = "import sys; from octabox.cli.main import cli; cli(['pipelines', '--json'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert set() == {"torch", "diffusers", "transformers", "pydantic", "rich"} & set(done.stderr.split())


@pytest.mark.parametrize("command", ["pipelines", "schedulers", "inspect"])
def test_the_folder_of_the_settings_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """As by a server with the same file of settings; `inspect` states then that such a model is served."""
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    monkeypatch.delenv("OCTABOX_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept" / "pipelines").mkdir(parents=True)
    (tmp_path / "kept" / "pipelines" / "tiny.py").write_text(
        "from diffusers import DDPMPipeline\nclass TinyDreamPipeline(DDPMPipeline): pass\n"
    )
    (tmp_path / "octabox.yaml").write_text("models: kept\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model_index.json").write_text('{"_class_name": "TinyDreamPipeline"}')
    words = [command, "own", "--json"] if command == "inspect" else [command, "--json"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    names = {*load_catalog().pipelines}
    load_catalog.cache_clear()

    assert "TinyDreamPipeline" in names
    assert command != "inspect" or json.loads(result.output)["served"]
