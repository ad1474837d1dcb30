"""Pipelines that are not of diffusers."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from octabox.catalog import cache, loading, pipelines
from octabox.catalog.entries import Dependency
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.plugins import FOLDER_VARIABLE
from octabox.errors import LoadError, MissingDependencyError

#: A pipeline with a call of its own, one that only inherits, and a scheduler.
BRUSH = """
    import diffusers
    from diffusers import DiffusionPipeline, SchedulerMixin, WanImageToVideoPipeline
    from diffusers.image_processor import PipelineImageInput
    from diffusers.pipelines.stable_diffusion import StableDiffusionPipeline
    from diffusers.utils import BaseOutput

    class BrushOutput(BaseOutput):
        images: list

    class BrushPipeline(DiffusionPipeline):
        "Paints over an image."

        def __init__(self, vae, scheduler):
            super().__init__()
            self.register_modules(vae=vae, scheduler=scheduler)

        def __call__(self, prompt: str, image: PipelineImageInput, mood: str = "calm") -> BrushOutput:
            return BrushOutput(images=[image])

    class GlossyPipeline(StableDiffusionPipeline):
        "Makes it shine."

    class ShortClipPipeline(WanImageToVideoPipeline):
        pass

    class DripScheduler(SchedulerMixin):
        def __init__(self, speed: float = 0.5): pass

        def set_timesteps(self, num_inference_steps: int):
            pass
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the catalog anew before and after each test, and forget the folder and what was imported from it."""
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    load_catalog.cache_clear()
    yield
    load_catalog.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("octabox_pipelines", "easel")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of single files, with one in it, as the catalog uses it."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    write(folder / "brush.py", BRUSH)
    pipelines.use_folder(folder)
    return folder


def write(path: Path, text: str) -> None:
    """Write a file of source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")


def announce(site: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that announces a module of pipelines."""
    write(site / "easel-1.2.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: easel\nVersion: 1.2\n")
    write(site / "easel-1.2.dist-info" / "entry_points.txt", f"[octabox.pipelines]\neasel = {module}\n")
    monkeypatch.syspath_prepend(str(site))


def test_single_files_are_served(folder: Path) -> None:
    """A class in a file of the folder has parameters, a task, components and a description, as those of diffusers have."""
    brush = load_catalog().pipeline("BrushPipeline")

    assert ("octabox_pipelines", "octabox_pipelines.brush") == (brush.package, brush.module)
    assert (("image-to-image",), "image", "Paints over an image.") == (
        brush.tasks,
        brush.output_kind,
        brush.description,
    )
    assert ["prompt", "image", "mood"] == [parameter.name for parameter in brush.parameters]
    assert ["vae", "scheduler"] == [part.name for part in brush.components]
    assert 0.5 == load_catalog().scheduler("DripScheduler").settings[0].default


def test_our_own_is_announced_as_any_other() -> None:
    """The pipeline that comes with Octabox is known by its entry point, and by nothing else in the catalog."""
    own = load_catalog().pipeline("ImageUpscalingPipeline")

    assert (("image-to-image",), "image", "progress_bar", True) == (
        own.tasks,
        own.output_kind,
        own.progress,
        own.single_file,
    )
    assert ["image", "tile", "tile_overlap"] == [each.name for each in own.parameters if each.kind != "internal"]
    assert (Dependency("spandrel", "spandrel"),) == own.needs
    assert () == load_catalog().siblings(own.name)


def test_what_is_inherited_from_diffusers_is_known(folder: Path) -> None:
    """A class that adds nothing to one of diffusers takes, gives and needs what that one does."""
    catalog = load_catalog()
    glossy, own = catalog.pipeline("GlossyPipeline"), catalog.pipeline("StableDiffusionPipeline")

    assert own.parameters == glossy.parameters
    assert (own.tasks, own.outputs, own.components) == (glossy.tasks, glossy.outputs, glossy.components)
    assert (own.sizes, own.progress, own.single_file) == (glossy.sizes, glossy.progress, glossy.single_file)
    assert (Dependency("ftfy", "ftfy"),) == catalog.pipeline("ShortClipPipeline").needs


def test_what_is_handed_on_is_known(folder: Path) -> None:
    """A call that hands on whatever it is given takes what its base's call takes, too, and gives the same."""
    text = """
        from diffusers import StableDiffusionPipeline
        class HazyPipeline(StableDiffusionPipeline):
            def __call__(self, *args, haze: float = 1.0, guidance_scale: float = 3.0, **kwargs):
                return super().__call__(*args, guidance_scale=guidance_scale, **kwargs)
    """
    write(folder / "hazy.py", text)
    hazy, own = load_catalog().pipeline("HazyPipeline"), load_catalog().pipeline("StableDiffusionPipeline")

    assert {"haze", *(each.name for each in own.parameters)} == {each.name for each in hazy.parameters}
    assert [1.0, 3.0] == [each.default for each in hazy.parameters if each.name in ("haze", "guidance_scale")]
    assert (own.outputs, own.tasks, own.swallows_kwargs) == (hazy.outputs, hazy.tasks, hazy.swallows_kwargs)


def test_a_call_that_says_nothing_is_a_problem(folder: Path) -> None:
    """A class whose outputs nobody can know serves no task, and is left out with a word."""
    text = "from diffusers import DiffusionPipeline\nclass MutePipeline(DiffusionPipeline):\n"
    write(folder / "mute.py", f"{text}    def __call__(self, prompt: str): return make(prompt)")

    assert "MutePipeline" not in load_catalog().pipelines
    assert load_catalog().problems[0].startswith("MutePipeline of octabox_pipelines.mute is skipped: its source")


def test_diffusers_itself_stays_as_it_is(catalog: Catalog, folder: Path) -> None:
    """All that diffusers has is there besides, unchanged."""
    whole = load_catalog()

    assert {"BrushPipeline", "GlossyPipeline", "ShortClipPipeline"} == set(whole.pipelines) - set(catalog.pipelines)
    assert [] == [name for name, entry in catalog.pipelines.items() if whole.pipelines[name] != entry]
    assert () == whole.problems


@pytest.mark.parametrize("module", ["easel", "easel.art", "easel.art.brush"])
def test_installed_packages_are_served(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that announces itself, a part of it or one of its modules is read, and only then imported."""
    announce(tmp_path, module, monkeypatch)
    write(tmp_path / "easel" / "__init__.py", "")
    write(tmp_path / "easel" / "art" / "__init__.py", "")
    write(tmp_path / "easel" / "art" / "brush.py", BRUSH)

    brush = load_catalog().pipeline("BrushPipeline")

    assert (module, "easel.art.brush") == (brush.package, brush.module)
    assert "easel" not in sys.modules
    assert "BrushPipeline" == loading.import_class("BrushPipeline").__name__
    assert "easel.art.brush" in sys.modules


def test_a_module_alone_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package may be one file."""
    announce(tmp_path, "easel", monkeypatch)
    write(tmp_path / "easel.py", BRUSH)

    assert "easel" == load_catalog().pipeline("BrushPipeline").module


def test_a_package_that_is_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is announced and not there is said, and the rest is served."""
    announce(tmp_path, "easel", monkeypatch)

    with caplog.at_level(logging.WARNING):
        assert "StableDiffusionPipeline" in load_catalog().pipelines
    assert "The package easel of an entry point of octabox.pipelines is not installed." in caplog.messages


def test_a_name_of_diffusers_is_taken(folder: Path) -> None:
    """A class with the name of one of diffusers does not come in its place, and both are named."""
    write(folder / "thief.py", "from diffusers import DiffusionPipeline\nclass DDPMPipeline(DiffusionPipeline): pass")
    catalog = load_catalog()

    assert "diffusers" == catalog.pipeline("DDPMPipeline").package
    (problem,) = catalog.problems
    assert problem.startswith("DDPMPipeline of octabox_pipelines.thief is skipped, since diffusers.")


def test_a_file_that_is_no_python_is_a_problem(folder: Path) -> None:
    """A broken file is named, each time, and takes nothing else with it."""
    write(folder / "broken.py", "def (")
    for _ in range(2):
        load_catalog.cache_clear()

        assert "BrushPipeline" in load_catalog().pipelines
        (problem,) = load_catalog().problems
        assert problem.startswith(f"{folder / 'broken.py'} cannot be read: ")


def test_a_reader_that_fails_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source that the reader cannot cope with is a problem of its own, and diffusers is served."""

    def fail(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    load_catalog()
    write(folder / "deep.py", "")
    monkeypatch.setattr(pipelines, "_read", fail)
    load_catalog.cache_clear()

    assert "DDPMPipeline" in load_catalog().pipelines
    assert (f"{folder} cannot be read: RecursionError: too deep",) == load_catalog().problems


def test_each_place_has_a_cache_of_its_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in a file is seen, and makes nothing else be read again."""
    load_catalog()
    # Other processes write to the cache that all tests share.
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(shutil.copytree(cache.cache_folder(), tmp_path / "cache")))
    load_catalog.cache_clear()
    load_catalog()
    kept = cache.cache_file(folder)
    others = {path: path.stat().st_mtime_ns for path in cache.cache_folder().iterdir() if path != kept}
    write(folder / "more.py", "from diffusers import DDPMPipeline\nclass MorePipeline(DDPMPipeline): pass")
    load_catalog.cache_clear()

    assert "MorePipeline" in load_catalog().pipelines
    assert kept.exists()
    assert others == {path: path.stat().st_mtime_ns for path in others}


def test_a_single_file_is_imported(folder: Path) -> None:
    """A class of the folder is imported by its name, and works; files may import each other."""
    write(folder / "fine.py", "from .brush import BrushPipeline\nclass FinePipeline(BrushPipeline): pass")
    fine = loading.import_class("FinePipeline")

    assert ["image-to-image"] == list(load_catalog().pipeline("FinePipeline").tasks)
    assert {"images": ["sky"]} == dict(fine(vae=None, scheduler=None)("blue", "sky"))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("import no_such_paint", MissingDependencyError, "No module named 'no_such_paint'"),
        ("1 / 0", LoadError, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_fails_is_a_typed_error(folder: Path, text: str, error: type[Exception], message: str) -> None:
    """What goes wrong while a file is imported is told, with its name."""
    write(
        folder / "bad.py",
        f"{text}\nfrom diffusers import DiffusionPipeline\nclass BadPipeline(DiffusionPipeline): pass",
    )

    with pytest.raises(error, match=f"^BadPipeline of octabox_pipelines.bad cannot be imported: {message}"):
        loading.import_class("BadPipeline")


def test_processes_that_are_started_know_the_folder(folder: Path) -> None:
    """A process that is started later finds the same pipelines, and imports none to list them."""
    code = "import sys; from octabox.catalog.pipelines import load_catalog; brush = load_catalog().pipeline('BrushPipeline');"
    code += "print(brush.module, 'diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)

    assert "octabox_pipelines.brush False" == done.stdout.strip()


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path, catalog: Catalog) -> None:
    """No folder, no pipelines of one."""
    pipelines.use_folder(tmp_path / "nowhere")

    assert set(catalog.pipelines) == set(load_catalog().pipelines)
