"""Remote code in a model's files."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDPMPipeline, DDPMScheduler

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.plugins import FOLDER_VARIABLE
from octabox.config.model import ComponentConfig, ModelConfig, RemoteCode
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading import remote_code
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.errors import RemoteCodeError
from tiny import unet

#: Permission for the model's own repository.
OWN = (RemoteCode(repo="."),)

#: A component that leaves a trace when its file is run.
CODE = """
from pathlib import Path
from diffusers import UNet2DModel

Path(__file__).with_name("trace").touch()
Path({trace!r}).touch()


class OwnUNet(UNet2DModel):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model whose UNet class is in a file next to its weights."""
    # diffusers copies files of all models to one place; Python takes a file of the same size and second for unchanged.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    place = tmp_path / "model"
    DDPMPipeline(unet=unet(), scheduler=DDPMScheduler()).save_pretrained(place)
    index = json.loads((place / "model_index.json").read_text())
    index["unet"] = ["own_unet", "OwnUNet"]
    (place / "model_index.json").write_text(json.dumps(index))
    (place / "unet" / "own_unet.py").write_text(CODE.format(trace=str(tmp_path / "trace")))
    return place


def loaded(folder: Path, allow: Any, **fields: Any) -> Any:
    """Load the model with this permission."""
    config = ModelConfig(name="x", model=str(folder), allow_remote_code=allow, **fields)
    return load(config, "DDPMPipeline", WorkerOptions(device="cpu")).pipeline


@pytest.mark.parametrize("allow", [False, [], {"repo": "owner/name", "revision": "v1"}, [{"repo": "/elsewhere"}]])
def test_code_that_is_not_named_is_refused_before_it_is_read(folder: Path, allow: Any) -> None:
    """The error names the file and the setting; an entry for another repository does not count."""
    with pytest.raises(RemoteCodeError, match=r"unet/own_unet\.py") as caught:
        loaded(folder, allow)

    assert f"allow_remote_code: [{{repo: {folder}}}]" in caught.value.hint
    assert not (folder.parent / "trace").exists()


@pytest.mark.parametrize("short", [True, False])
def test_code_that_is_named_runs(folder: Path, short: bool) -> None:
    """By its folder, or by true, which is the model's own."""
    pipe = loaded(folder, True if short else [{"repo": str(folder)}])

    assert "OwnUNet" == type(pipe.unet).__name__
    assert (folder.parent / "trace").exists()


def test_a_component_from_elsewhere_needs_no_code(folder: Path, tmp_path: Path) -> None:
    """What is not loaded from the model cannot run."""
    config = ModelConfig(name="x", model=str(folder), components={"unet": ComponentConfig(model="a/b")})

    assert not may_run_code(config, str(folder))


def test_the_base_of_a_single_file_is_held_to_the_same(folder: Path) -> None:
    """An entry for the file does not allow the code of the model that `config` names."""
    config = ModelConfig(name="x", model="x.safetensors", config=str(folder), allow_remote_code=OWN)

    with pytest.raises(RemoteCodeError, match="own_unet"):
        may_run_code(config, str(folder))


def test_a_model_without_code_asks_for_nothing(tmp_path: Path) -> None:
    """An index of diffusers' and transformers' classes, and a folder without an index."""
    index = {"_class_name": "X", "unet": ["diffusers", "Y"], "words": ["transformers", "Z"], "vae": [None, None]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    config = ModelConfig(name="x", model=str(tmp_path))

    assert not may_run_code(config, str(tmp_path))
    assert not may_run_code(config, str(tmp_path.parent))


@pytest.mark.parametrize(
    ("module", "brings_file", "allowed"),
    [("octabox_pipelines.brush", False, True), ("octabox_pipelines.brush", True, False), ("brush", False, False)],
)
def test_classes_of_plugins_are_no_code_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, brings_file: bool, allowed: bool
) -> None:
    """A class of an installed plugin is allowed; a file next to the weights is not."""
    plugins, model = tmp_path / "pipelines", tmp_path / "model"
    plugins.mkdir()
    (plugins / "brush.py").write_text("from diffusers import ModelMixin\nclass Bristle(ModelMixin): pass")
    (model / "bristle").mkdir(parents=True)
    (model / "model_index.json").write_text(json.dumps({"_class_name": "X", "bristle": [module, "Bristle"]}))
    if brings_file:
        (model / "bristle" / f"{module}.py").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(plugins))
    load_catalog.cache_clear()
    config = ModelConfig(name="x", model=str(model))

    try:
        if allowed:
            assert not may_run_code(config, str(model))
            return
        with pytest.raises(RemoteCodeError, match=rf"bristle/{module}\.py"):
            may_run_code(config, str(model))
    finally:
        load_catalog.cache_clear()


@pytest.mark.parametrize(
    ("index", "file"),
    [
        ({"_class_name": ["my_pipeline", "X"]}, "my_pipeline.py"),
        ({"_class_name": "X", "auto_map": {"ModularPipelineBlocks": "blocks.Own"}}, "blocks.py"),
        ({"_class_name": "X", "unet": ["os", "Y"]}, "unet/os.py"),
    ],
)
def test_all_ways_to_bring_code_are_known(tmp_path: Path, index: dict[str, Any], file: str) -> None:
    """A pipeline, blocks, and a component of any library that is not for models."""
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "X", **index}))

    with pytest.raises(RemoteCodeError, match=file):
        may_run_code(ModelConfig(name="x", model=str(tmp_path)), str(tmp_path))


@pytest.mark.parametrize(
    ("allow", "revision", "allowed"),
    [
        (False, "v1", False),
        ([{"repo": "owner/name", "revision": "v1"}], "v1", True),
        ([{"repo": "owner/name", "revision": "v1"}], "v2", False),
        ([{"repo": "owner/name", "revision": "v1"}], None, False),
        ([{"repo": "owner/name"}], "v1", False),
        ([{"repo": "owner/name"}], None, False),
        ([{"repo": "owner/other", "revision": "v1"}], "v1", False),
        (True, "v1", True),
        (True, None, False),
    ],
)
def test_a_repository_is_named_with_its_revision(
    monkeypatch: pytest.MonkeyPatch, allow: Any, revision: str | None, allowed: bool
) -> None:
    """It must be the one that the model is loaded at."""
    monkeypatch.setattr(remote_code, "model_index", lambda *_: {"_class_name": "X", "unet": ["own", "Y"]})
    config = ModelConfig(name="x", model="owner/name", revision=revision, allow_remote_code=allow)

    if allowed:
        assert may_run_code(config, "owner/name")
        return
    with pytest.raises(RemoteCodeError) as caught:
        may_run_code(config, "owner/name")
    assert "revision" in caught.value.hint
