"""The public functions of the package."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import octabox
from ldm_layout import save_single_file, tiny_sd
from makers import pipelines
from octabox.catalog import loading
from octabox.catalog.dependencies import install_command
from octabox.catalog.entries import Dependency
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.reading.packages import known_packages
from octabox.errors import IncompatibleWeightsError, MissingDependencyError, PipelineNotFoundError


def test_all_pipelines_are_listed() -> None:
    """Pipelines are listed in order, with the classes that choose one."""
    found = octabox.get_available_pipelines()

    assert sorted(found) == found
    assert {"StableDiffusionPipeline", "FluxPipeline", "AutoPipelineForText2Image"} <= set(found)


def test_all_names_of_tasks_are_listed() -> None:
    """Tags, what people call them, families, variants and components are all names that may be given."""
    assert {
        "text-to-image",
        "img2img",
        "stable-diffusion",
        "qwen-image",
        "controlnet",
        "flux-control-net-inpaint",
    } <= set(octabox.get_available_tasks())


def test_classes_are_listed_by_their_base() -> None:
    """Schedulers and models are found by what they inherit from, at any distance."""
    assert "EulerDiscreteScheduler" in octabox.get_available_classes("SchedulerMixin")
    assert "UNet2DConditionModel" in octabox.get_available_classes("ModelMixin")
    assert "SchedulerMixin" not in octabox.get_available_classes("SchedulerMixin")


def test_an_unknown_base_has_neighbours() -> None:
    """A base that is nearly right leads to the right one."""
    with pytest.raises(ValueError, match="Did you mean SchedulerMixin"):
        octabox.get_available_classes("SchedulerMixn")


def test_listing_imports_nothing() -> None:
    """The package itself costs nothing, and its lists need no torch."""
    code = (
        "import sys, octabox; light = 'octabox.catalog' not in sys.modules;"
        "octabox.get_available_classes('SchedulerMixin'); print(light, 'torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "True False" == done.stdout.strip()


def test_public_names_are_all_there() -> None:
    """Every public name can be had, and no other."""
    assert all(callable(getattr(octabox, name)) for name in octabox.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        octabox.nothing  # noqa: B018


def test_a_class_is_the_real_one() -> None:
    """A name leads to diffusers' own class."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline  # noqa: PLC0415 (slow, and needed here only)

    assert StableDiffusionPipeline is octabox.resolve_pipeline_class(class_name="StableDiffusionPipeline")
    assert StableDiffusionPipeline is octabox.resolve_pipeline_class(task="stable-diffusion")
    assert EulerDiscreteScheduler is octabox.discover_diffusers_classes("SchedulerMixin")["EulerDiscreteScheduler"]


def test_a_missing_dependency_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where diffusers has only a stand-in, its own advice is given."""

    class DummyObject(type):
        """Marks a stand-in."""

    class StandIn(metaclass=DummyObject):
        """Says what is missing."""

        def __init__(self) -> None:
            raise ImportError("Needs paint.\n  pip install paint")

    monkeypatch.setattr("diffusers.DDPMPipeline", StandIn)

    with pytest.raises(MissingDependencyError, match=r"^DDPMPipeline lacks a dependency\. Needs paint\. pip install"):
        octabox.resolve_pipeline_class("DDPMPipeline")


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make one pipeline need two packages that are not there, one that fails, one that may be missing, and one that works."""
    (tmp_path / "broken_paint.py").write_text("raise RuntimeError('operator paint::mix does not exist\\nmore')")
    (tmp_path / "good_paint.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    named = [Dependency(name, name) for name in ("no_paint", "no_brush", "broken_paint", "good_paint")]
    entry = replace(
        load_catalog().pipelines["DDPMPipeline"], needs=(*named, Dependency("no_easel", "no_easel", certain=False))
    )
    monkeypatch.setitem(load_catalog().pipelines, entry.name, entry)


def test_all_that_is_missing_is_one_error(needy: None) -> None:
    """One error names each package that is not installed or does not import, which of the two it is, and what to type."""
    with pytest.raises(MissingDependencyError) as caught:
        octabox.resolve_pipeline_class("DDPMPipeline")

    assert (
        "DDPMPipeline needs more packages: no_brush, no_paint are not installed; broken_paint is installed but cannot be "
        "imported (operator paint::mix does not exist)."
    ) == caught.value.message
    assert 'pip install "no_brush" "no_paint" "broken_paint"' in caught.value.hint
    assert "For broken_paint, install the build for the installed version of torch." in caught.value.hint


def test_a_torchvision_of_another_build_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command names the installed torch, whose build is of the same index."""
    entry = replace(load_catalog().pipelines["DDPMPipeline"], needs=(Dependency("torchvision", "torchvision"),))
    monkeypatch.setitem(load_catalog().pipelines, entry.name, entry)
    monkeypatch.setattr(loading, "is_installed", lambda _: True)
    monkeypatch.setattr(loading, "_import_failure", lambda _: "operator torchvision::nms does not exist")
    with pytest.raises(MissingDependencyError) as caught:
        octabox.resolve_pipeline_class("DDPMPipeline")

    assert "(operator torchvision::nms does not exist)" in caught.value.message
    assert f"Run `{install_command(['torchvision'])}`." == caught.value.hint
    assert f'"torch=={version("torch")}"' in caught.value.hint


def test_what_is_imported_apart_is_not_tried(needy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that its user imports in a way of its own need only be installed."""
    known = {**known_packages(), "imported_apart": ["broken_paint", "no_paint"]}
    monkeypatch.setattr(loading, "known_packages", lambda: known)

    with pytest.raises(MissingDependencyError) as caught:
        octabox.resolve_pipeline_class("DDPMPipeline")
    assert "DDPMPipeline needs more packages: no_brush, no_paint are not installed." == caught.value.message


def test_what_is_there_is_no_error() -> None:
    """A class whose packages are all there, and one that needs none, pass; so does a name that is no pipeline's."""
    for name in ("WanImageToVideoPipeline", "DDPMPipeline", "LMSDiscreteScheduler", "AutoencoderKL"):
        loading.check_packages(name)


class Recorder:
    """A pipeline class that notes how it is loaded."""

    @classmethod
    def from_pretrained(cls, source: str, **kwargs: Any) -> tuple[str, str, dict[str, Any]]:
        """Return the call."""
        return "from_pretrained", source, kwargs

    @classmethod
    def from_single_file(cls, source: str, **kwargs: Any) -> tuple[str, str, dict[str, Any]]:
        """Return the call."""
        return "from_single_file", source, kwargs


@pytest.mark.parametrize("name", ["dtype", "torch_dtype", "device_map"])
@pytest.mark.parametrize("single", [False, True])
def test_arguments_pass_through(name: str, single: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the loader does not know itself reaches diffusers as it is."""
    monkeypatch.setattr(loading, "import_class", lambda _: Recorder)

    call = octabox.load_diffusers_pipeline(
        "StableDiffusionPipeline", model_id=str(tmp_path), from_single_file=single, **{name: "some"}
    )

    assert ("from_single_file" if single else "from_pretrained", str(tmp_path), {name: "some"}) == call


def test_a_single_file_is_loaded(tmp_path: Path) -> None:
    """Its weights become a pipeline of the class, in the dtype that a keyword names."""
    pipe = tiny_sd(clip=True)
    pipe.save_pretrained(tmp_path / "folder")
    save_single_file(pipe, tmp_path / "model.safetensors")
    loaded = octabox.load_diffusers_pipeline(
        class_name="StableDiffusionPipeline",
        model_id=str(tmp_path / "model.safetensors"),
        from_single_file=True,
        config=str(tmp_path / "folder"),
        torch_dtype=torch.float16,
    )

    assert "StableDiffusionPipeline" == type(loaded).__name__
    assert {torch.float16} == {part.dtype for part in (loaded.unet, loaded.vae, loaded.text_encoder)}
    assert torch.equal(pipe.unet.conv_in.weight.half(), loaded.unet.conv_in.weight)


def test_not_every_class_reads_single_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class without a reader of single files is said to have none."""
    monkeypatch.setattr(loading, "import_class", lambda _: int)

    with pytest.raises(IncompatibleWeightsError, match="single file"):
        octabox.load_diffusers_pipeline("DDPMPipeline", model_id="x.safetensors", from_single_file=True)


def test_a_model_must_be_named() -> None:
    """A class alone has no weights."""
    with pytest.raises(PipelineNotFoundError, match="No model is specified"):
        octabox.load_diffusers_pipeline("StableDiffusionPipeline")


#: Classes whose parts are in a module of deprecated code, and the place that models on the Hub name for them.
MOVED = {
    "StableCascadeDecoderPipeline": {"vqgan": "wuerstchen"},
    "WuerstchenPriorPipeline": {"prior": "wuerstchen"},
    "WuerstchenDecoderPipeline": {"decoder": "wuerstchen", "vqgan": "wuerstchen"},
    "UnCLIPPipeline": {"text_proj": "unclip"},
    "VQDiffusionPipeline": {"learned_classifier_free_sampling_embeddings": "vq_diffusion"},
    "KarrasVePipeline": {"scheduler": "deprecated"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", MOVED)
def test_parts_that_have_moved_are_found(name: str, published: bool, tmp_path: Path) -> None:
    """A model loads again as diffusers saves it now, and as older versions saved those on the Hub."""
    saved = pipelines()[name].make()
    saved.save_pretrained(str(tmp_path))
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    index |= {part: [library, index[part][1]] for part, library in MOVED[name].items() if published}
    (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    loaded = octabox.load_diffusers_pipeline(name, model_id=str(tmp_path))

    for part in MOVED[name]:
        assert type(getattr(saved, part)) is type(getattr(loaded, part))
        loaded.save_pretrained(str(tmp_path / "again"))
        assert part in type(loaded).from_pretrained(str(tmp_path / "again")).components
