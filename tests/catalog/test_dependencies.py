"""What a model's parts need, and what is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from octabox.catalog import dependencies
from octabox.catalog.dependencies import dependencies_of, install_command, is_installed
from octabox.catalog.entries import Component, Dependency, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.packages import known_packages

VISION = Dependency("torchvision", "torchvision")


def entry(*components: Component) -> PipelineEntry:
    """Return a pipeline of these parts."""
    return PipelineEntry(
        "BrushPipeline", "brushes", "brushes", components=components, needs=(Dependency("ftfy", "ftfy"),)
    )


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        ((), ["ftfy"]),
        ((Component("processor", "Qwen2VLProcessor"),), ["ftfy", "torchvision"]),
        ((Component("processor", "PixtralProcessor"),), ["ftfy", "torchvision"]),
        ((Component("processor", "CLIPProcessor"),), ["ftfy"]),
        ((Component("processor", "Qwen2VLProcessor", optional=True),), ["ftfy"]),
        ((Component("processor", "Qwen2VLProcessor | CLIPProcessor"),), ["ftfy"]),
        ((Component("processor", "PaintProcessor"),), ["ftfy"]),
    ],
)
def test_a_processor_brings_needs(components: tuple[Component, ...], expected: list[str]) -> None:
    """A processor that is needed and handles videos brings what all such need; one that may be another brings nothing."""
    assert expected == [need.name for need in dependencies_of(entry(*components))]


def test_a_model_says_what_its_parts_are() -> None:
    """Where the classes of a model's parts are known, they count in place of the annotations."""
    pipeline = entry(Component("processor", "Qwen2VLProcessor"))

    assert ["ftfy"] == [need.name for need in dependencies_of(pipeline, ["CLIPProcessor"])]
    assert ["ftfy", "torchvision"] == [need.name for need in dependencies_of(entry(), ["Qwen2_5_VLProcessor"])]


@pytest.mark.parametrize("name", ["QwenImageEditPipeline", "Kandinsky5T2VPipeline", "NucleusMoEImagePipeline"])
def test_known_pipelines_need_their_processors(catalog: Catalog, name: str) -> None:
    """Classes that are known to fail without torchvision, for their processors' sake, need it."""
    assert VISION in dependencies_of(catalog.pipeline(name))


def test_a_library_that_is_gone_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the processors' source cannot be found, nothing is said of them."""
    dependencies._processor_needs.cache_clear()
    dependencies._processors.cache_clear()
    monkeypatch.setattr(dependencies, "_folder", lambda: tmp_path)
    found = [need.name for need in dependencies_of(entry(Component("processor", "Qwen2VLProcessor")))]
    dependencies._processor_needs.cache_clear()
    dependencies._processors.cache_clear()

    assert ["ftfy"] == found


def test_full_installs_everything(catalog: Catalog) -> None:
    """Each package that some class needs comes with Octabox, or with its extra, or stands in the data file with a reason."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    brought = set(re.findall(r'^    "([\w.-]+)', project.partition("dev = [")[0], re.MULTILINE))
    found = {need.name for each in catalog.pipelines.values() for need in dependencies_of(each)}
    found |= {need.name for each in catalog.schedulers.values() for need in each.needs}
    apart = known_packages()["apart"]

    assert set() == found - brought - apart.keys()
    assert set() == apart.keys() - found
    assert all(apart.values())


def test_what_is_installed_is_not_imported() -> None:
    """A package is found without importing it."""
    code = (
        "import sys; from octabox.catalog.dependencies import is_installed; "
        "print(is_installed('torch'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "True False" == done.stdout.strip()
    assert not is_installed("no_such_package")
    assert not is_installed("no_such_package.part")


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        ("2.13.0+cpu", '"torch==2.13.0+cpu" --extra-index-url https://download.pytorch.org/whl/cpu'),
        ("2.9.1+cu126", '"torch==2.9.1+cu126" --extra-index-url https://download.pytorch.org/whl/cu126'),
        ("2.9.1+rocm6.4", '"torch==2.9.1+rocm6.4" --extra-index-url https://download.pytorch.org/whl/rocm6.4'),
        ("2.13.0", '"torch==2.13.0"'),
        ("2.13.0+gitabc", '"torch==2.13.0+gitabc"'),
    ],
)
def test_what_has_to_fit_torch_is_of_its_index(torch: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build is part of the version of torch, which the command does not change; one of pip's own index has none."""
    monkeypatch.setattr(dependencies, "version", {"torch": torch}.__getitem__)

    for name in ("torchvision", "torchaudio", "spandrel"):
        assert f'pip install "ftfy" "{name}" --upgrade {expected}' == install_command(["ftfy", name])
    assert 'pip install "ftfy" "librosa"' == install_command(["ftfy", "librosa"])
