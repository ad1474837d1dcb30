"""The verbs of the Hub, against a real server."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save

from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.cli.main import cli
from octabox.errors import DownloadError, GatedModelError, InvalidParameterError, ModelNotFoundError, OctaboxError
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.files_in_use import claim_file
from octabox.hub.pulls import transfer
from octabox.hub.snapshots import find_snapshot

DEMO = folder_files(demo.FOLDER)
LORA = save({"unet.a.lora_A.weight": np.zeros((4, 8), "float32"), "unet.a.lora_B.weight": np.zeros((8, 4), "float32")})
EMBEDDING = save({"<star>": np.zeros((2, 64), "float32")})
PIPELINE = json.loads(DEMO["model_index.json"])["_class_name"]


@pytest.fixture
def hub(local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """Return a Hub with a model, a LoRA, an embedding, a repository of files, and what nobody can use."""
    monkeypatch.chdir(tmp_path)
    about = {"pipeline_tag": "text-to-image", "cardData": {"license": "apache-2.0"}}
    config = {"diffusers": {"_class_name": PIPELINE}}
    local_hub.add("org/shapes", DEMO, downloads=50, config=config, **about)
    local_hub.add("org/shapes-lora", {"pytorch_lora_weights.safetensors": LORA}, downloads=9, tags=["lora"])
    local_hub.add("org/star", {"learned_embeds.safetensors": EMBEDDING}, downloads=3, tags=["textual_inversion"])
    local_hub.add("org/files", {"a.safetensors": b"0" * 9, "b.safetensors": b"1" * 9}, downloads=2)
    local_hub.add(
        "other/shapes-odd",
        {"model_index.json": b"{}"},
        downloads=90,
        gated="auto",
        config={"diffusers": {"_class_name": "Odd"}},
    )
    return local_hub


def octabox(*words: str, text: str | None = None) -> Result:
    """Run a verb that succeeds."""
    result = CliRunner().invoke(cli, [*words], standalone_mode=False, input=text)
    assert 0 == result.exit_code, (result.exception, result.output)
    return result


def data(*words: str) -> Any:
    """Return what a verb prints as JSON."""
    return json.loads(octabox(*words, "--json").stdout)


def failure(*words: str, text: str | None = None) -> OctaboxError:
    """Return the error that a verb ends with."""
    error = CliRunner().invoke(cli, [*words], standalone_mode=False, input=text).exception
    assert isinstance(error, OctaboxError), error
    return error


def test_search_says_what_each_is(hub: LocalHub) -> None:
    """Class, size, licence, gate, whether it is served, and whether it fits: without a download."""
    odd, shapes, lora = data("search", "shapes")

    assert ["other/shapes-odd", "org/shapes", "org/shapes-lora"] == [each["name"] for each in (odd, shapes, lora)]
    assert (PIPELINE, "diffusers", True, "yes") == tuple(shapes[key] for key in ("pipeline", "kind", "served", "fits"))
    assert ("apache-2.0", False, "text-to-image") == tuple(shapes[key] for key in ("licence", "gated", "task"))
    assert sum(map(len, DEMO.values())) == shapes["size"]
    assert 3_000_000 < shapes["parameters"] < 4_000_000
    assert ("Odd", False, True) == tuple(odd[key] for key in ("pipeline", "served", "gated"))
    assert ("lora", True) == (lora["kind"], lora["served"])
    assert not CachedRepo("org/shapes").folder.exists()


def test_search_is_narrowed_and_sorted(hub: LocalHub) -> None:
    """By author, task and gate; sizes are compared too."""
    assert ["other/shapes-odd"] == [each["name"] for each in data("search", "--author", "other")]
    assert ["other/shapes-odd"] == [each["name"] for each in data("search", "--gated")]
    assert ["org/shapes"] == [each["name"] for each in data("search", "--task", "text-to-image")]
    assert "org/shapes" == data("search", "--sort", "size", "--no-gated")[0]["name"]
    assert "octabox pull NAME" in octabox("search", "shapes").stdout


def test_pull_models_and_rm(hub: LocalHub, tmp_path: Path) -> None:
    """A model is downloaded under a name, listed, described and removed."""
    pulled = data("pull", "org/shapes", "--yes", "--as", "mine")
    (listed,) = data("models")
    known = data("inspect", "org/shapes")

    assert ("mine", "diffusers") == (pulled["name"], pulled["kind"])
    assert "name: mine\nmodel: org/shapes\n" == (tmp_path / "models" / "mine.yaml").read_text()
    assert ("org/shapes", True, ["main"]) == (listed["name"], listed["complete"], listed["revisions"])
    assert sum(map(len, DEMO.values())) == listed["size"]
    assert ("cache", PIPELINE, True, []) == tuple(known[key] for key in ("where", "pipeline", "served", "missing"))
    assert {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= set(known["components"])
    assert "text-to-image" in known["tasks"]
    assert "'mine' is configured with it" in octabox("rm", "org/shapes", "--yes").stderr
    assert [] == data("models")


def test_nothing_in_use_is_removed(hub: LocalHub) -> None:
    """Neither what is loaded nor what is being downloaded; afterwards it is."""
    octabox("pull", "org/shapes", "--yes")
    descriptor = CachedRepo("org/shapes").hold()
    assert descriptor is not None

    assert "in use" in str(failure("rm", "org/shapes", "--yes"))
    assert find_snapshot("org/shapes") is not None
    os.close(descriptor)
    octabox("rm", "org/shapes", "--yes")
    assert isinstance(failure("rm", "org/shapes", "--yes"), ModelNotFoundError)


def test_a_lora_and_an_embedding_go_to_their_folders(hub: LocalHub, tmp_path: Path) -> None:
    """By links, under the repository's name where the file's says nothing; `octabox adapters` lists both, `rm` removes both."""
    lora, star = data("pull", "org/shapes-lora", "--yes"), data("pull", "org/star", "--yes", "--as", "sparkle")

    assert ("shapes-lora", "lora") == (lora["name"], lora["kind"])
    assert (tmp_path / "models/loras/shapes-lora.safetensors").read_bytes() == LORA
    assert ("sparkle", "embedding") == (star["name"], star["kind"])
    assert {"shapes-lora", "sparkle"} == {each["name"] for each in data("adapters")}
    octabox("rm", "org/shapes-lora", "org/star", "--yes")
    assert [] == data("adapters")


def test_a_file_has_to_be_chosen(hub: LocalHub, tmp_path: Path) -> None:
    """The error lists them with their sizes and the command."""
    error = failure("pull", "org/files", "--yes")

    assert isinstance(error, InvalidParameterError)
    assert ("a.safetensors", "b.safetensors") == error.choices
    assert "--file a.safetensors" in error.hint
    data("pull", "org/files", "--yes", "--file", "b.safetensors")
    assert b"1" * 9 == (tmp_path / "models/b.safetensors").read_bytes()


def test_a_name_in_use_is_kept(hub: LocalHub, tmp_path: Path) -> None:
    """Nothing of the user's is overwritten."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text("name: mine\nmodel: other\n")

    assert "exists already" in str(failure("pull", "org/shapes", "--yes", "--as", "mine"))
    assert "name: mine\nmodel: other\n" == (tmp_path / "models" / "mine.yaml").read_text()


def test_an_interrupted_model_is_listed_as_such(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that completes it."""
    monkeypatch.setattr(transfer, "FIRST_DELAY", 0.001)
    hub.cuts = {"org/shapes/unet/diffusion_pytorch_model.safetensors": [1_000_000, *[0] * 99]}
    assert isinstance(failure("pull", "org/shapes", "--yes"), DownloadError)

    assert "no: octabox pull org/shapes" in octabox("models").stdout
    assert data("models")[0]["size"] > 500_000
    octabox("rm", "org/shapes", "--yes")
    assert not CachedRepo("org/shapes").folder.exists()


def test_inspect_needs_no_download(hub: LocalHub) -> None:
    """A model on the Hub is described by headers; a folder and a file too."""
    remote, folder = data("inspect", "org/shapes"), data("inspect", str(demo.FOLDER))
    file = data("inspect", str(demo.FOLDER / "unet" / "diffusion_pytorch_model.safetensors"))

    assert ("hub", "folder", "file") == (remote["where"], folder["where"], file["where"])
    assert folder["parameters"] == remote["parameters"]
    assert folder["prediction_type"] == json.loads(DEMO["scheduler/scheduler_config.json"]).get("prediction_type")
    assert hub.sent["org/shapes/unet/diffusion_pytorch_model.safetensors"] < 300_000
    assert isinstance(failure("inspect", "nothing"), ModelNotFoundError)


def test_login_keeps_a_token_to_itself(hub: LocalHub, tmp_path: Path) -> None:
    """It is checked, stored for this user only, and never printed."""
    assert "login_required" == failure("whoami").code
    assert isinstance(failure("login", text="hf_wrong\n"), GatedModelError)
    result = octabox("login", text="hf_alice\n")
    place = tmp_path / "hf" / "token"

    assert "as alice" in result.output
    assert "hf_alice" not in result.output
    assert ("hf_alice", 0o600) == (place.read_text(), stat.S_IMODE(place.stat().st_mode))
    assert ("alice", "read", str(place)) == tuple(data("whoami")[key] for key in ("name", "role", "source"))
    octabox("logout")
    assert not place.exists()


def test_an_environment_s_token_is_named(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes precedence, and stays after a logout."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")

    assert "HF_TOKEN" == data("whoami")["source"]
    assert "HF_TOKEN" == data("logout")["remaining"]


def test_no_terminal_needs_an_answer(hub: LocalHub) -> None:
    """Nothing is downloaded or removed unasked."""
    result = CliRunner().invoke(cli, ["pull", "org/shapes"], standalone_mode=False)

    assert "add --yes" in str(result.exception)
    assert find_snapshot("org/shapes") is None


def test_folders_and_links_are_models_too(hub: LocalHub, tmp_path: Path) -> None:
    """A folder, a file and what was linked are listed with their kind, their size and what is wrong with them."""
    shutil.copytree(demo.FOLDER, tmp_path / "models" / "mine")
    (tmp_path / "models" / "torn.safetensors").write_bytes(LORA[:-8])
    data("pull", "org/shapes-lora", "--yes")
    data("pull", "org/star", "--yes", "--as", "sparkle")
    found = {(each["name"], each["where"]): each for each in data("models")}
    lora, folder, torn = found["shapes-lora", "link"], found["mine", "folder"], found["torn", "folder"]

    assert {"org/shapes-lora", "org/star"} == {name for name, where in found if where == "cache"}
    assert ("lora", len(LORA), len(LORA), True) == tuple(lora[key] for key in ("kind", "size", "shared", "complete"))
    assert ("org/shapes-lora", 1) == (lora["source"], len(lora["revisions"]))
    assert "embedding" == found["sparkle", "link"]["kind"]
    assert ("diffusers", sum(map(len, DEMO.values())), 0) == tuple(folder[key] for key in ("kind", "size", "shared"))
    assert folder["complete"]
    assert not torn["complete"]
    assert torn["missing"]
    shutil.rmtree(tmp_path / "models" / "mine" / "vae")
    table = octabox("models").stdout
    assert "link to org/shapes-lora" in table
    assert "no: vae/" in table


def test_what_was_linked_is_removed_by_its_name(hub: LocalHub, tmp_path: Path) -> None:
    """With its repository if nothing else of it is there, else alone; the user's own files are kept."""
    data("pull", "org/shapes-lora", "--yes", "--as", "ink")
    data("pull", "org/files", "--yes", "--file", "a.safetensors")
    data("pull", "org/files", "--yes", "--file", "b.safetensors")
    (tmp_path / "models" / "own.safetensors").write_bytes(LORA)

    octabox("rm", "ink", "--yes")
    assert not CachedRepo("org/shapes-lora").folder.exists()
    removed = data("rm", "a", "--yes")
    assert 9 == removed[0]["freed"]
    assert not os.path.lexists(tmp_path / "models" / "a.safetensors")
    assert b"1" * 9 == (tmp_path / "models" / "b.safetensors").read_bytes()
    octabox("rm", "b", "--yes")
    assert not CachedRepo("org/files").folder.exists()
    refused = failure("rm", "own", "--yes")
    assert "was not downloaded by Octabox" in str(refused)
    assert (tmp_path / "models" / "own.safetensors").exists()


def test_a_file_by_url_is_removed_unless_it_is_in_use(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link and the file; a process that has it loaded keeps it."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "own"))
    file = tmp_path / "own" / "files" / ("0" * 64) / "style.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(LORA)
    (tmp_path / "models" / "loras").mkdir(parents=True)
    link = tmp_path / "models" / "loras" / "style.safetensors"
    link.symlink_to(file)
    program = f"from pathlib import Path; from octabox.hub.files_in_use import hold; hold(Path({str(link)!r})); input()"
    with subprocess.Popen([sys.executable, "-c", f"{program}"], stdin=subprocess.PIPE) as holder:
        end = time.monotonic() + 60
        while (descriptor := claim_file(file)) is not None:
            os.close(descriptor)
            assert time.monotonic() < end
            time.sleep(0.05)
        assert "in use" in str(failure("rm", "style", "--yes"))
        assert link.exists()
        holder.communicate(b"\n")

    octabox("rm", "style", "--yes")
    assert not os.path.lexists(link)
    assert not file.parent.exists()


def test_the_name_of_a_configuration_says_what_to_remove(hub: LocalHub) -> None:
    """It is not the name of a model on the disk."""
    data("pull", "org/shapes", "--yes", "--as", "mine")

    assert "`octabox rm org/shapes`" in str(failure("rm", "mine", "--yes"))


def test_a_folder_without_weights_is_not_complete(hub: LocalHub, tmp_path: Path) -> None:
    """Neither in the list nor by itself; what is missing is named."""
    shutil.copytree(demo.FOLDER, tmp_path / "models" / "mine")
    weights = "unet/diffusion_pytorch_model.safetensors"
    (tmp_path / "models" / "mine" / weights).unlink()
    (listed,) = data("models")
    known = data("inspect", str(tmp_path / "models" / "mine"))

    assert (False, [weights], [weights]) == (listed["complete"], listed["missing"], known["missing"])
    assert [] == data("inspect", str(demo.FOLDER))["missing"]
