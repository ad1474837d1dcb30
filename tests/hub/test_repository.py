"""What a repository on the Hub says of itself."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from local_hub import LocalHub
from octabox.errors import DownloadError, GatedModelError, IncompatibleWeightsError, ModelNotFoundError, OctaboxError
from octabox.hub import repository
from octabox.hub.repository import model_index
from octabox.security.json_files import MAX_BYTES

Hub = Callable[[Callable[[str], str]], list[str]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Return a function that lets the Hub answer by a function of the file's name; it returns what was asked for."""

    def answers(answer: Callable[[str], str]) -> list[str]:
        asked: list[str] = []

        def download(repo: str, name: str, *, revision: str | None, dry_run: bool = False) -> Any:
            if dry_run:
                return SimpleNamespace(local_path="", will_download=True, file_size=99)
            asked.append(f"{repo}/{name}@{revision}")
            return answer(name)

        monkeypatch.setattr(repository, "hf_hub_download", download)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        return asked

    return answers


def raising(error: Exception) -> Callable[[str], str]:
    """Return an answer that is this error."""

    def answer(name: str) -> str:
        raise error

    return answer


def response(status: int) -> Any:
    """Return as much of a web answer as the Hub's errors look at."""
    return SimpleNamespace(status_code=status, headers={}, request=None)


def test_a_repository_is_known_by_one_file(hub: Hub, tmp_path: Path) -> None:
    """Nothing but its index is fetched, of the revision that was asked for."""
    index = tmp_path / "index.json"
    index.write_text('{"_class_name": "X"}')
    asked = hub(lambda _: str(index))

    assert {"_class_name": "X"} == model_index("owner/name", "v1")
    assert ["owner/name/model_index.json@v1"] == asked


@pytest.mark.parametrize("name", ["model_index.json", "modular_model_index.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" " * (MAX_BYTES + 1), "is not downloaded: it has"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested more than"),
        (b"[]", "must hold a JSON object, not list"),
        (b'{"_class_name": 3}', "names no pipeline"),
        (b'{"_class_name": "X"', "is not valid JSON"),
    ],
)
def test_an_index_that_is_none(local_hub: LocalHub, name: str, content: bytes, words: str) -> None:
    """One that is too large is not downloaded; the error names the repository and the file."""
    local_hub.add("org/odd", {name: content})

    with pytest.raises(IncompatibleWeightsError, match=words) as caught:
        model_index("org/odd")

    assert f"org/odd/{name}" in str(caught.value)
    assert (len(content) if len(content) <= MAX_BYTES else 0) == local_hub.sent[f"org/odd/{name}"]


def test_a_modular_repository_has_another_file(hub: Hub, tmp_path: Path) -> None:
    """It is asked for where the usual one is missing."""
    index = tmp_path / "index.json"
    index.write_text('{"_class_name": "X"}')

    def answer(name: str) -> str:
        if name.startswith("modular"):
            return str(index)
        raise EntryNotFoundError(name)

    asked = hub(answer)

    assert {"_class_name": "X"} == model_index("owner/name")
    assert ["owner/name/model_index.json@None", "owner/name/modular_model_index.json@None"] == asked


@pytest.mark.parametrize(
    ("error", "ours", "words"),
    [
        (
            GatedRepoError("x", response=response(403)),
            GatedModelError,
            "Accept them at https://huggingface.co/owner/name",
        ),
        (
            RepositoryNotFoundError("x", response=response(404)),
            ModelNotFoundError,
            "or it is private. Check the spelling",
        ),
        (RevisionNotFoundError("x", response=response(404)), ModelNotFoundError, "has no revision 'v1'"),
        (HfHubHTTPError("x", response=response(403)), GatedModelError, "token has no access to owner/name"),
        (HfHubHTTPError("x", response=response(401)), GatedModelError, "HF_TOKEN, or log in"),
        (HfHubHTTPError("x", response=response(429)), DownloadError, "The request limit of the Hub is reached"),
        (
            HfHubHTTPError("server broke", response=response(500)),
            DownloadError,
            "The Hub responded with status 500 for owner/name",
        ),
        (OfflineModeIsEnabled("x"), DownloadError, "Unset HF_HUB_OFFLINE"),
        (LocalEntryNotFoundError("x"), DownloadError, "the Hub cannot be reached. Check the network"),
        (EntryNotFoundError("x"), IncompatibleWeightsError, "owner/name is not a diffusers model"),
        (OSError(28, "No space left on device"), DownloadError, "has no space for owner/name"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_the_hub_refuses_is_told_apart(hub: Hub, error: Exception, ours: type[OctaboxError], words: str) -> None:
    """Gated, forbidden, missing and offline are different errors, each with what to do."""
    hub(raising(error))

    with pytest.raises(ours) as caught:
        model_index("owner/name", "v1")

    assert words in str(caught.value)
    assert ours is type(caught.value)
    assert "owner/name" == caught.value.model


def test_offline_by_choice_is_told_from_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the variable that switches the Hub off."""
    hub(raising(LocalEntryNotFoundError("x")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        model_index("owner/name")


def test_a_folder_is_read_without_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its name looks like a Hub id."""
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "Local"}')
    monkeypatch.chdir(tmp_path)
    asked = hub(raising(AssertionError("the Hub was asked")))

    assert {"_class_name": "Local"} == model_index("owner/name") == model_index(folder)
    assert [] == asked


def test_what_is_neither_folder_nor_repository_is_not_asked_for(hub: Hub) -> None:
    """A path that does not exist must not reach the network."""
    asked = hub(raising(AssertionError("the Hub was asked")))

    with pytest.raises(ModelNotFoundError, match="There is no folder"):
        model_index("no/such/folder")

    assert [] == asked
