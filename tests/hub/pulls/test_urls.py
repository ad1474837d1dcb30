"""Files by URL: only https, only public addresses, only with the right checksum."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from octabox.errors import DownloadError, ForbiddenUrlError, InvalidParameterError, OctaboxError
from octabox.hub.folder import MAX_NAME_BYTES
from octabox.hub.pulls import urls
from octabox.hub.pulls.urls import UrlRequest, plan_url, pull_url
from octabox.security.urls import UrlGuard

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://files.example/a/model.safetensors"


#: Redirects to what is no URL.
ODD = {"/control.safetensors": "https://files.example/a\x7fb.safetensors", "/bracket.safetensors": "https://[/"}


async def public(host: str, port: int) -> list[str]:
    """Resolve a name: one of them is of this machine."""
    return ["127.0.0.1"] if host == "inside.example" else ["93.184.216.34"]


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as a server of files does."""
    path = request.url.path
    if path.startswith("/to/"):
        return httpx.Response(302, headers={"location": f"https://inside.example{path}"})
    if path == "/plain":
        return httpx.Response(302, headers={"location": "http://files.example/model.safetensors"})
    if path in ODD:
        return httpx.Response(302, headers={"location": ODD[path]})
    if path.endswith("none.safetensors"):
        return httpx.Response(404)
    headers, body, status = {}, CONTENT, 200
    if (found := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))) and "whole" not in path:
        start, end = int(found[1]), int(found[2] or len(CONTENT) - 1)
        headers, body, status = {"content-range": f"bytes {start}-{end}/{len(CONTENT)}"}, CONTENT[start : end + 1], 206
    return httpx.Response(status, headers={**headers, "content-length": str(len(body))}, stream=httpx.ByteStream(body))


@pytest.fixture
def guard() -> UrlGuard:
    """Return a guard whose connections end at the function above."""
    return UrlGuard(public, lambda: httpx.MockTransport(answer))


async def test_a_file_is_fetched_once_and_checked(guard: UrlGuard, tmp_path: Path) -> None:
    """A part of an earlier attempt is used."""
    (tmp_path / SHA256).mkdir()
    (tmp_path / SHA256 / ".model.safetensors.partial").write_bytes(CONTENT[:3000])
    reports: list[int] = []

    file = await pull_url(UrlRequest(URL, SHA256), tmp_path, lambda done, _: reports.append(done), guard)

    assert CONTENT == file.read_bytes()
    assert (3000, len(CONTENT)) == (reports[0], reports[-1])
    assert file == await pull_url(UrlRequest(URL, SHA256.upper()), tmp_path, guard=guard)


@pytest.mark.parametrize("path", ["a/model.safetensors", "/a/model.safetensors", "a/..%5C..%5Cmodel.safetensors"])
def test_the_name_of_a_file_has_no_folder(path: str) -> None:
    """Whatever separates its parts."""
    assert "model.safetensors" == UrlRequest(f"https://files.example/{path}", SHA256).name


async def test_a_server_without_ranges(guard: UrlGuard, tmp_path: Path) -> None:
    """The file is downloaded from its start, also after an interruption."""
    url = "https://files.example/whole/model.safetensors"
    (tmp_path / SHA256).mkdir()
    (tmp_path / SHA256 / ".model.safetensors.partial").write_bytes(CONTENT[:3000])

    file = await pull_url(UrlRequest(url, SHA256), tmp_path, guard=guard)

    assert CONTENT == file.read_bytes()


@pytest.mark.parametrize(
    ("url", "sha256", "kind"),
    [
        ("http://files.example/model.safetensors", SHA256, ForbiddenUrlError),
        ("https://inside.example/model.safetensors", SHA256, ForbiddenUrlError),
        ("https://files.example/to/model.safetensors", SHA256, ForbiddenUrlError),
        ("https://user:secret@files.example/model.safetensors", SHA256, ForbiddenUrlError),
        ("https://files.example/none.safetensors", SHA256, DownloadError),
        (URL, None, InvalidParameterError),
        (URL, "abc", InvalidParameterError),
        ("https://files.example/page.html", SHA256, InvalidParameterError),
        (URL, "0" * 64, DownloadError),
        ("https://files.example/a\x01b.safetensors", SHA256, ForbiddenUrlError),
        ("https://files.example/a\nb.safetensors", SHA256, ForbiddenUrlError),
        ("https://files.example/a\ud800.safetensors", SHA256, ForbiddenUrlError),
        ("https://files.example/a%00b.safetensors", SHA256, InvalidParameterError),
        ("https://files.example/a%0Ab.safetensors", SHA256, InvalidParameterError),
        (f"https://files.example/{'a' * 250}.safetensors", SHA256, InvalidParameterError),
        (f"https://files.example/{'%C3%A4' * 100}.safetensors", SHA256, InvalidParameterError),
        ("https://files.example/control.safetensors", SHA256, DownloadError),
        ("https://files.example/bracket.safetensors", SHA256, DownloadError),
    ],
)
async def test_what_is_refused(
    guard: UrlGuard, tmp_path: Path, url: str, sha256: str | None, kind: type[OctaboxError]
) -> None:
    """Nothing of it is kept under the name of the file."""
    with pytest.raises(kind):
        await pull_url(UrlRequest(url, sha256), tmp_path, guard=guard)

    assert [] == [*tmp_path.rglob("*.safetensors")]


async def test_what_a_url_hides(guard: UrlGuard, tmp_path: Path) -> None:
    """Its query may have a token, which no message shows; the words of an error are those of a URL."""
    with pytest.raises(DownloadError) as caught:
        await pull_url(UrlRequest(f"{URL}?token=secret", "0" * 64), tmp_path, guard=guard)

    assert "secret" not in str(caught.value)
    assert ("checksum_mismatch", "Check the SHA-256") == (caught.value.code, caught.value.hint[:17])


async def test_two_at_a_time_share_a_download(guard: UrlGuard, tmp_path: Path) -> None:
    """The second one waits, and finds the file."""
    files = await asyncio.gather(*(pull_url(UrlRequest(URL, SHA256), tmp_path, guard=guard) for _ in range(2)))

    assert 1 == len({*files})
    assert CONTENT == files[0].read_bytes()


async def test_no_room(guard: UrlGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known before the first byte, and the setting of the folder is named."""
    monkeypatch.setattr(urls, "RESERVE", 2**60)
    with pytest.raises(DownloadError, match="has no space") as caught:
        await pull_url(UrlRequest(URL, SHA256), tmp_path, guard=guard)

    assert ("disk_full", True) == (caught.value.code, "OCTABOX_CACHE_DIR" in caught.value.hint)


async def test_a_folder_that_cannot_be_written(guard: UrlGuard, tmp_path: Path) -> None:
    """The error names it, and the setting; a name of the largest size can be written."""
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot be stored in") as caught:
        await pull_url(UrlRequest(URL, SHA256), tmp_path / "file", guard=guard)

    assert f"{tmp_path / 'file'}" in caught.value.message
    assert "OCTABOX_CACHE_DIR" in caught.value.hint
    longest = f"https://files.example/{'a' * (MAX_NAME_BYTES - 12)}.safetensors"
    assert (await pull_url(UrlRequest(longest, SHA256), tmp_path, guard=guard)).exists()


async def test_a_plan_states_the_bytes_and_stores_nothing(guard: UrlGuard, tmp_path: Path) -> None:
    """Of a new file, of one with a part, and of one that is there; a request for one byte states the size."""
    folder = tmp_path / "files"
    request, asked = UrlRequest(URL, SHA256), list[str]()
    new = await plan_url(request, folder, guard)
    assert (len(CONTENT), 0, len(CONTENT)) == (new.size, new.present, new.to_fetch)
    assert new.free > 0
    assert not folder.exists()

    new.place.parent.mkdir(parents=True)
    (new.place.parent / ".model.safetensors.partial").write_bytes(CONTENT[:3000])
    assert len(CONTENT) - 3000 == (await plan_url(request, folder, guard)).to_fetch

    def counted(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range", ""))
        return answer(request)

    # With the size of the plan, the server is not asked for it again.
    known = UrlGuard(public, lambda: httpx.MockTransport(counted))
    assert new.place == await pull_url(request, folder, guard=known, size=new.size)
    assert ["bytes=3000-"] == asked
    assert 0 == (await plan_url(request, folder, guard)).to_fetch


@pytest.mark.parametrize("name", ["none", "control", "bracket"])
async def test_a_plan_reports_what_a_download_would(guard: UrlGuard, tmp_path: Path, name: str) -> None:
    """A file that is not there, or an impossible redirect."""
    with pytest.raises(DownloadError):
        await plan_url(UrlRequest(f"https://files.example/{name}.safetensors", SHA256), tmp_path, guard)


async def test_a_plan_that_does_not_fit_is_refused(guard: UrlGuard, tmp_path: Path) -> None:
    """As that of a repository is, with the setting of the folder."""
    plan = replace(await plan_url(UrlRequest(URL, SHA256), tmp_path, guard), free=5)
    with pytest.raises(DownloadError) as caught:
        plan.check_space()

    assert "disk_full" == caught.value.code
    assert "OCTABOX_CACHE_DIR" in str(caught.value.hint)
