"""What a Hub or a request states never leads out of the folders of the cache."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import local_hub as hub_module
from local_hub import LocalHub
from octabox.errors import DownloadError
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import pull

FILES = {"model_index.json": b'{"_class_name": "X", "unet": ["diffusers", "U"]}', "unet/config.json": b"{}"}


@pytest.mark.parametrize("name", ["../../../../../escaped/evil.py", "unet/a\\..\\..\\..\\evil.py", "../evil.py"])
async def test_a_listed_name_never_leaves_the_cache(local_hub: LocalHub, tmp_path: Path, name: str) -> None:
    """A Hub whose index names the folder above, and whose list has files there, is refused before anything is written."""
    index = {"_class_name": "X", name.partition("/")[0]: ["diffusers", "U"]}
    local_hub.add("org/evil", {"model_index.json": json.dumps(index).encode(), name: b"x" * 99})

    with pytest.raises(DownloadError, match="cannot be stored safely") as caught:
        await pull(make_plan(PullRequest("org/evil")))

    assert "unsafe_file" == caught.value.code
    assert [] == [*tmp_path.rglob("evil.py")]


async def test_an_unsafe_name_that_is_not_needed(local_hub: LocalHub) -> None:
    """It is left out of the list in the cache as well."""
    local_hub.add("org/model", {**FILES, "../../evil.py": b"x"})

    planned = make_plan(PullRequest("org/model"))
    await pull(planned)

    assert {*FILES} == {each.path for each in planned.files}
    assert {*FILES} == {each.path for each in planned.repo.tree(planned.commit) or ()}


@pytest.mark.parametrize(("function", "code"), [("blob_of", "unsafe_file"), ("commit_of", "not_a_hub")])
def test_a_checksum_and_a_commit_are_no_paths(
    local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, function: str, code: str
) -> None:
    """They name files and folders of the cache."""
    local_hub.add("org/model", FILES)
    monkeypatch.setattr(hub_module, function, lambda _: "../../../../evil")

    with pytest.raises(DownloadError) as caught:
        make_plan(PullRequest("org/model"))
    assert code == caught.value.code


def test_a_revision_is_no_path(local_hub: LocalHub, tmp_path: Path) -> None:
    """Nothing outside of the folder of branches and tags is read or written by one; neither is a pipe."""
    outside, cached = tmp_path / "secret", CachedRepo("org/model")
    outside.write_text("a" * 40)
    refs = cached.folder / "refs"
    refs.mkdir(parents=True)
    os.mkfifo(refs / "pipe")
    (refs / "odd").write_text("../../../escaped")

    for revision in (str(outside), "../../../../secret", "/dev/zero", "pipe", "odd"):
        assert cached.commit(revision) is None
    cached.set_revision(str(outside), "b" * 40)
    cached.set_revision("../../../../secret", "b" * 40)
    assert "a" * 40 == outside.read_text()
    cached.set_revision("refs/pr/1", "b" * 40)
    assert "b" * 40 == cached.commit("refs/pr/1")
