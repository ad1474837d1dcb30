"""Everything that a model needs of the Hub goes one way: our own downloads, one store, and the same errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

import makers
from ip_adapters import save_all
from ldm_layout import save_single_file, tiny_sd
from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.sources.requests import hub_requests, plan_downloads
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.errors import DownloadError, GatedModelError, IncompatibleWeightsError, LoadError, ModelNotFoundError
from octabox.hub.browsing.cached_models import plan_removal, remove_model
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.files_in_use import _held
from octabox.hub.pulls.needed import PullRequest
from octabox.types import AdapterChoice
from trained import HEARTS

pytestmark = pytest.mark.slow

DEMO = folder_files(demo.FOLDER)
KIND = "StableDiffusionPipeline"
MODULAR = "ZImageModularPipeline"


def part(name: str) -> dict[str, bytes]:
    """Return the files of a component, at the top level."""
    return {each.removeprefix(f"{name}/"): text for each, text in DEMO.items() if each.startswith(f"{name}/")}


@pytest.fixture
def hub(local_hub: LocalHub, tmp_path: Path) -> LocalHub:
    """Return a Hub with a model, components of it in other repositories, a LoRA and an IP-Adapter."""
    local_hub.add("org/base", DEMO)
    local_hub.add("org/vae", {**part("vae"), "diffusion_pytorch_model.bin": b"0" * 99})
    local_hub.add("org/whole", DEMO)
    local_hub.add("org/hearts", {"hearts.safetensors": Path(HEARTS).read_bytes(), "README.md": b"# Hearts"})
    local_hub.add("org/ip", folder_files(save_all(tmp_path / "ip")))
    return local_hub


def config(**fields: Any) -> ModelConfig:
    """Return a configuration whose parts come from five repositories."""
    parts = {"vae": {"model": "org/vae"}, "text_encoder": {"model": "org/whole", "subfolder": "text_encoder"}}
    adapter = {"model": "org/ip", "subfolder": "models", "weight_name": "first.safetensors"}
    described = {"components": parts, "adapters": [{"lora": "org/hearts"}], "ip_adapters": [adapter]}
    return ModelConfig.model_validate({"name": "m", "model": "org/base", **described, **fields})


def loaded(model: ModelConfig, kind: str = KIND) -> LoadedModel:
    """Load a model, as a worker does."""
    return load(model, kind, WorkerOptions(device="cpu"))


def test_each_part_is_planned(hub: LocalHub) -> None:
    """Its own files and no others, and not those of the model that it replaces."""
    plans = {plan.request.repo: {each.path for each in plan.files} for plan in plan_downloads(config())}

    assert ["org/base", "org/vae", "org/whole", "org/hearts", "org/ip"] == [*plans]
    assert not [name for name in plans["org/base"] if name.startswith(("vae/", "text_encoder/"))]
    assert {"config.json", "diffusion_pytorch_model.safetensors"} == plans["org/vae"]
    assert {"text_encoder"} == {name.partition("/")[0] for name in plans["org/whole"]}
    assert {"hearts.safetensors"} == plans["org/hearts"]
    encoder = {"models/image_encoder/config.json", "models/image_encoder/model.safetensors"}
    assert {"models/first.safetensors", *encoder} == plans["org/ip"]


def test_the_libraries_download_nothing(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker downloads what is missing by our code, and afterwards needs no network; nothing in use is removed."""
    model = loaded(config())
    # The libraries ask with HEAD before each download; only the index is read by them.
    by_libraries = {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "HEAD"}
    sent = hub.sent.copy()
    in_use = [plan_removal(name) for name in ("org/base", "org/vae", "org/whole", "org/hearts", "org/ip")]

    assert by_libraries <= {"model_index.json"}
    assert model.loras is not None
    assert ["org/hearts"] == [each.lora for each in config().adapters]
    for removal in in_use:
        with pytest.raises(Exception, match="in use"):
            remove_model(removal)
    hub.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert [] == [*plan_downloads(config())]
    loaded(config())
    assert sent == hub.sent


@pytest.mark.parametrize(("fields", "repo"), [
    ({"components": {"vae": {"model": "org/closed"}}}, "org/closed"),
    ({"adapters": [{"lora": "org/closed"}]}, "org/closed"),
    ({"ip_adapters": [{"model": "org/closed"}]}, "org/closed"),
])  # fmt: skip
@pytest.mark.parametrize("by_worker", [False, True])
def test_refusals_are_those_of_models(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], repo: str, by_worker: bool
) -> None:
    """A gated part says where its terms are, a missing one that it is missing, and one that is not here that it is not."""
    hub.add(repo, part("vae"), gated="auto")
    model = config(**{"components": {}, "adapters": [], "ip_adapters": [], **fields})

    def attempt() -> None:
        loaded(model) if by_worker else [*plan_downloads(model)]

    with pytest.raises(GatedModelError, match=f"terms at {hub.url}/{repo}, then log in"):
        attempt()
    del hub.repos[repo]
    # A configured LoRA that cannot be found is a failed load of its model.
    with pytest.raises((ModelNotFoundError, LoadError), match=f"no model {repo} on the Hub"):
        attempt()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="and the Hub is disabled"):
        attempt()


def test_a_missing_folder_has_the_nearest(hub: LocalHub) -> None:
    """A part that a repository lacks is an error with those that it has."""
    wrong = config(components={"text_encoder": {"model": "org/whole", "subfolder": "text_encodre"}})

    with pytest.raises(ModelNotFoundError, match=r"has no file 'text_encodre/'\. Did you mean text_encoder/"):
        [*plan_downloads(wrong)]


def test_a_lora_of_several_files(hub: LocalHub) -> None:
    """They are listed; the one that was downloaded by name is used."""
    hub.add("org/two", {"a.safetensors": Path(HEARTS).read_bytes(), "b.safetensors": b"1" * 99})
    model = config(components={}, ip_adapters=[], adapters=[{"lora": "org/two"}])
    with pytest.raises(Exception, match=r"has several files: a\.safetensors, b\.safetensors"):
        [*plan_downloads(model)]
    cached = CachedRepo("org/two")

    from octabox.hub.pulls.plan import make_plan  # noqa: PLC0415

    plan = make_plan(PullRequest("org/two", file="a.safetensors"))
    cached.prepare(plan.commit)
    cached.blob(plan.files[0]).write_bytes(Path(HEARTS).read_bytes())
    cached.link(plan.files[0], plan.commit)
    cached.write_tree(plan.commit, plan.all_files)
    cached.set_revision(None, plan.commit)

    assert ["org/base"] == [each.request.repo for each in plan_downloads(model)]


def test_a_file_needs_only_what_it_lacks(hub: LocalHub, tmp_path: Path) -> None:
    """Of the model that completes it, the weights of what is in the file are not downloaded."""
    pipe = tiny_sd(clip=True)
    pipe.save_pretrained(tmp_path / "whole")
    hub.add("org/around", folder_files(tmp_path / "whole"))
    save_single_file(pipe, tmp_path / "no-vae.safetensors", without=("vae",))
    model = ModelConfig(name="f", model=str(tmp_path / "no-vae.safetensors"), config="org/around")
    (plan,) = plan_downloads(model)
    weights = {each.path for each in plan.files if each.path.endswith(".safetensors")}

    assert {"vae/diffusion_pytorch_model.safetensors"} == weights
    assert {"unet/config.json", "text_encoder/config.json"} <= {each.path for each in plan.files}
    assert [each for each in plan.files if each.path.startswith("tokenizer/")]
    loaded(model)
    assert 0 == hub.sent["org/around/unet/diffusion_pytorch_model.safetensors"]


def test_a_modular_model_and_the_repositories_that_it_names(hub: LocalHub, tmp_path: Path) -> None:
    """Its index names where each component is; a component of another repository is downloaded alone."""
    folder = tmp_path / "blocks"
    makers.pipelines()[MODULAR].make().save_pretrained(str(folder), overwrite_modular_index=True)
    files = folder_files(folder)
    index = files["modular_model_index.json"].decode()
    files["modular_model_index.json"] = index.replace(str(folder), "org/blocks").encode()
    own = {name: text for name, text in files.items() if not name.startswith("vae/")}
    spoken = own["modular_model_index.json"].decode()
    place = spoken.index('"vae"')
    own["modular_model_index.json"] = (
        spoken[:place] + spoken[place:].replace("org/blocks", "org/elsewhere", 1)
    ).encode()
    hub.add("org/blocks", own)
    hub.add("org/elsewhere", files)
    model = ModelConfig(name="b", model="org/blocks")

    assert [("org/blocks", ()), ("org/elsewhere", ("vae",))] == [
        (each.repo, each.folders) for each in hub_requests(model)
    ]
    assert loaded(model, MODULAR).pipeline.vae is not None
    assert {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "HEAD"} <= {
        "model_index.json",
        "modular_model_index.json",
    }
    assert 0 == hub.sent["org/elsewhere/transformer/diffusion_pytorch_model.safetensors"]


def test_a_repository_of_files_is_no_model(hub: LocalHub) -> None:
    """As for a model that is run by its id."""
    hub.add("org/files", {"a.gguf": b"0"})

    with pytest.raises(IncompatibleWeightsError, match="octabox pull org/files --file NAME"):
        [*plan_downloads(ModelConfig(name="f", model="org/files"))]


@pytest.fixture(autouse=True)
def _released() -> Any:
    """Release what a test holds, since this process is that of the next one."""
    yield
    import os  # noqa: PLC0415

    for descriptor in _held.values():
        if descriptor is not None:
            os.close(descriptor)
    _held.clear()


def test_a_lora_of_a_call(hub: LocalHub) -> None:
    """A LoRA that a request names is downloaded when it is applied, if nothing has before."""
    model = loaded(ModelConfig(name="m", model=str(demo.FOLDER)))
    assert model.loras is not None
    model.loras.apply((AdapterChoice("org/hearts"),))

    assert Path(HEARTS).stat().st_size == hub.sent["org/hearts/hearts.safetensors"]
