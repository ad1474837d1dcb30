"""Addresses of the Hub, as they are copied from a browser."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save

from local_hub import LocalHub
from octabox.cli.main import cli
from octabox.errors import InvalidParameterError, ModelNotFoundError, OctaboxError
from octabox.hub.pulls.addresses import parse_address, request_of
from octabox.hub.responses.messages import Target

LORA = save({"unet.a.lora_A.weight": np.zeros((4, 8), "float32"), "unet.a.lora_B.weight": np.zeros((8, 4), "float32")})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://huggingface.co/org/name", Target("org/name")),
        ("https://huggingface.co/org/name/", Target("org/name")),
        ("http://hf.co/org/name?x=1#files", Target("org/name")),
        ("hf.co/org/name", Target("org/name")),
        ("huggingface.co/org/name/tree/main", Target("org/name")),
        ("https://huggingface.co/org/name/tree/v1.0", Target("org/name", "v1.0")),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F3", Target("org/name", "refs/pr/3")),
        ("https://huggingface.co/org/name/blob/refs/pr/3/a.gguf", Target("org/name", "refs/pr/3", "a.gguf")),
        ("https://huggingface.co/o/n/blob/main/sub/a%20b.gguf", Target("o/n", None, "sub/a b.gguf")),
        ("https://huggingface.co/o/n/resolve/v1/a.gguf?download=true", Target("o/n", "v1", "a.gguf")),
        ("https://example.com/org/name", None),
        ("https://huggingface.co.evil.example/org/name", None),
        ("https://user@huggingface.co/org/name", None),
        ("ftp://huggingface.co/org/name", None),
        ("http://[::1", None),
        ("org/name", None),
        ("demo", None),
    ],
)
def test_what_an_address_refers_to(text: str, address: Target | None) -> None:
    """A repository, a revision of it, or a file; other addresses are other files."""
    assert address == parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/datasets/org/name",
        "https://huggingface.co/org",
        "https://huggingface.co",
        "https://huggingface.co/org/name/discussions/3",
        "https://huggingface.co/org/name/blob",
        "https://huggingface.co/org/../x",
    ],
)
def test_a_page_of_something_else_is_refused(text: str) -> None:
    """It is not taken as a model."""
    with pytest.raises(ModelNotFoundError, match="not the address of a model"):
        parse_address(text)


def test_a_folder_and_contradictions_are_refused() -> None:
    """Nothing of an address is left out in silence."""
    with pytest.raises(InvalidParameterError, match="is a folder of org/name"):
        parse_address("https://hf.co/org/name/tree/main/unet")
    for options in ({"revision": "v2"}, {"file": "b.gguf"}):
        with pytest.raises(InvalidParameterError, match="the address states"):
            request_of("https://hf.co/org/name/blob/v1/a.gguf", **options)


def octabox(*words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(cli, [*words], standalone_mode=False)


def test_the_commands_take_addresses(local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the configured Hub as of the public one."""
    monkeypatch.chdir(tmp_path)
    local_hub.add("org/file", {"a.gguf": b"a", "b.gguf": b"b"})
    page = f"{local_hub.url}/org/file"
    pulled = octabox("pull", f"{page}/blob/main/b.gguf", "--yes")
    inspected = octabox("inspect", page)

    assert (0, 0) == (pulled.exit_code, inspected.exit_code), (pulled.exception, inspected.exception)
    assert b"b" == (tmp_path / "models/b.gguf").read_bytes()
    assert "org/file" in inspected.output
    assert isinstance(octabox("inspect", f"{page}/blob/main/b.gguf").exception, OctaboxError)
    assert 0 == octabox("rm", page, "--yes").exit_code
    assert isinstance(octabox("inspect", "https://example.com/org/file").exception, ModelNotFoundError)


@pytest.mark.parametrize("page", ["datasets/org/name", "spaces/org/name", "name", "org/name"])
def test_a_file_of_the_hub_with_its_checksum_is_one_of_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """Also one of a dataset, or of a model whose id has one part; without it, the error names the option."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))
    digest, url = hashlib.sha256(LORA).hexdigest(), f"https://huggingface.co/{page}/resolve/main/x.safetensors"
    file = tmp_path / "cache/files" / digest / "x.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(LORA)
    pulled = octabox("pull", url, "--sha256", digest)

    assert 0 == pulled.exit_code, pulled.exception
    assert file == (tmp_path / "models/loras/x.safetensors").readlink()
    if page != "org/name":
        with pytest.raises(ModelNotFoundError) as caught:
            parse_address(url)
        assert "--sha256" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "use"), [("my style", "--lora 'my style'"), ("style:2", "--lora style:2:1"), ("plain", "--lora plain")]
)
def test_the_next_command_can_be_pasted(
    local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, use: str
) -> None:
    """Names with spaces are quoted, and a number at the end of a name is not a weight."""
    monkeypatch.chdir(tmp_path)
    local_hub.add("org/lora", {"x.safetensors": LORA}, tags=["lora"])
    result = octabox("pull", "org/lora", "--as", name, "--yes")

    assert result.stderr.rstrip().endswith(use)
