"""Downloads from a real server: only what is needed, continued, checked, shared, and found by huggingface_hub."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir, snapshot_download

from local_hub import CHUNK, LocalHub, commit_of, digest_of
from octabox.errors import DownloadError
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.pulls import plan, transfer
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import PullProgress, hub_headers, pull
from octabox.hub.snapshots import find_snapshot

INDEX = {"_class_name": "X", "unet": ["diffusers", "U"], "tokenizer": ["transformers", "T"], "safety": [None, None]}
BIG = os.urandom(3_000_000)
UNET = "unet/diffusion_pytorch_model.safetensors"
FILES = {
    "model_index.json": json.dumps(INDEX).encode(),
    "README.md": b"# A model",
    UNET: BIG,
    "unet/diffusion_pytorch_model.bin": b"0" * 9999,
    "unet/diffusion_pytorch_model.fp16.safetensors": b"1" * 555,
    "unet/config.json": b"{}",
    "tokenizer/vocab.json": b'{"a": 0}',
    "safety/model.safetensors": b"2" * 7777,
    "single.safetensors": b"3" * 8888,
}
NEEDED = {"model_index.json", "README.md", UNET, "unet/config.json", "tokenizer/vocab.json"}


@pytest.fixture
def hub(local_hub: LocalHub) -> LocalHub:
    """Return a Hub with a model."""
    local_hub.add("org/model", FILES)
    return local_hub


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_DELAY", 0.01)


def names_in(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}


def wait_for(hub: LocalHub, count: int) -> None:
    """Wait until so many bytes of the big file have been sent."""
    end = time.monotonic() + 30
    while hub.sent[f"org/model/{UNET}"] < count:
        assert time.monotonic() < end, hub.asked
        time.sleep(0.01)


async def test_only_what_is_needed_is_fetched(hub: LocalHub) -> None:
    """One variant, safetensors before pickles, and the components of the class; the plan knows the bytes before."""
    planned = make_plan(PullRequest("org/model"))
    sizes = sum(len(FILES[name]) for name in NEEDED)

    assert NEEDED == {each.path for each in planned.files}
    assert (sizes, "diffusers") == (planned.size, planned.kind)
    # The index is read to make the plan.
    assert planned.to_fetch == sizes - len(FILES["model_index.json"])

    progress: list[PullProgress] = []
    folder = await pull(planned, progress.append)

    assert NEEDED == names_in(folder)
    assert BIG == (folder / UNET).read_bytes()
    assert len(BIG) == hub.sent[f"org/model/{UNET}"]
    assert (sizes, sizes, 5, 5) == (progress[-1].done, progress[-1].total, progress[-1].files_done, progress[-1].files)
    assert folder == find_snapshot("org/model")


async def test_the_libraries_find_it_offline(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout is that of huggingface_hub: it finds each file, lists the model, and fetches nothing again."""
    planned = make_plan(PullRequest("org/model"))
    await pull(planned)
    sent = hub.sent.copy()

    assert Path(hf_hub_download("org/model", UNET)) == planned.folder / UNET
    snapshot_download("org/model", allow_patterns=sorted(NEEDED))
    hub.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = Path(snapshot_download("org/model", allow_patterns=sorted(NEEDED)))
    (repo,) = scan_cache_dir(constants.HF_HUB_CACHE).repos

    assert NEEDED == names_in(folder)
    assert ("org/model", {"main"}) == (repo.repo_id, {*repo.refs})
    assert sent == hub.sent
    assert () == make_plan(PullRequest("org/model")).missing


async def test_a_variant(hub: LocalHub) -> None:
    """It is fetched alone where it is asked for."""
    planned = make_plan(PullRequest("org/model", variant="fp16"))

    assert {each.path for each in planned.files if "unet/d" in each.path} == {
        "unet/diffusion_pytorch_model.fp16.safetensors"
    }
    assert (await pull(planned)) == find_snapshot("org/model") == find_snapshot("org/model", variant="fp16")


async def test_a_reset_connection_continues(hub: LocalHub) -> None:
    """Each byte is sent once, but for what was on its way."""
    hub.cuts[f"org/model/{UNET}"] = [1_000_000, 700_000]

    folder = await pull(make_plan(PullRequest("org/model")))

    assert BIG == (folder / UNET).read_bytes()
    assert len(BIG) <= hub.sent[f"org/model/{UNET}"] <= len(BIG) + 2 * transfer.CHUNK
    assert 3 == sum(UNET in path for path in hub.downloads() if "/cdn/" in path)


async def test_a_connection_that_is_always_cut(hub: LocalHub) -> None:
    """It ends with an error that names the command, and what was received stays."""
    hub.cuts[f"org/model/{UNET}"] = [1_000_000, *[0] * 99]

    with pytest.raises(DownloadError, match="octabox pull org/model") as caught:
        await pull(make_plan(PullRequest("org/model")))

    assert "connection_reset" == caught.value.code
    assert make_plan(PullRequest("org/model")).to_fetch <= len(BIG) - 1_000_000 + transfer.CHUNK
    assert find_snapshot("org/model") is None


async def test_cancelling_keeps_what_was_received(hub: LocalHub) -> None:
    """The model is not there before it is complete, and the next pull goes on."""
    hub.pause = 0.02
    task = asyncio.create_task(pull(make_plan(PullRequest("org/model"))))
    await asyncio.to_thread(wait_for, hub, 1_000_000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hub.pause = 0.0
    planned = make_plan(PullRequest("org/model"))
    left, before = planned.to_fetch, hub.sent[f"org/model/{UNET}"]

    assert find_snapshot("org/model") is None
    assert left < len(BIG) - 500_000
    await pull(planned)
    # The Hub may have been about to send a chunk to the process that was killed.
    assert hub.sent[f"org/model/{UNET}"] - before <= left + CHUNK
    assert find_snapshot("org/model") is not None


async def test_an_update_that_is_cut_leaves_the_old_model(hub: LocalHub) -> None:
    """The branch points to the old commit until the new one is complete; unchanged files are not fetched again."""
    old = await pull(make_plan(PullRequest("org/model")))
    hub.repos["org/model"].files = {**FILES, "unet/config.json": b'{"new": 1}'}
    hub.spoilt = {"org/model/unet/config.json"}
    with pytest.raises(DownloadError, match="checksum of unet/config"):
        await pull(make_plan(PullRequest("org/model")))

    assert old == find_snapshot("org/model")
    hub.spoilt = set()
    new = await pull(make_plan(PullRequest("org/model")))
    assert new == find_snapshot("org/model") != old
    assert len(BIG) == hub.sent[f"org/model/{UNET}"]


async def test_wrong_bytes_are_never_kept(hub: LocalHub) -> None:
    """Neither as the file nor as a part to go on from."""
    hub.spoilt = {f"org/model/{UNET}"}

    with pytest.raises(DownloadError) as caught:
        await pull(make_plan(PullRequest("org/model")))

    cached = CachedRepo("org/model")
    assert "checksum_mismatch" == caught.value.code
    assert [] == [*(cached.folder / "blobs").glob(f"{digest_of(UNET, BIG)}*")]


async def test_a_damaged_part_is_replaced(hub: LocalHub) -> None:
    """A part that is not of the file costs one more download, not an error."""
    planned = make_plan(PullRequest("org/model"))
    file = next(each for each in planned.files if each.path == UNET)
    planned.repo.prepare(planned.commit)
    planned.repo.partial(file).write_bytes(b"x" * 1_000_000)

    assert BIG == ((await pull(planned)) / UNET).read_bytes()


async def test_a_full_disk_is_known_before(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded, and both sizes are named."""
    monkeypatch.setattr(plan, "free_bytes", lambda: 5)

    with pytest.raises(DownloadError, match=r"0.00 GB are needed, and 0.00 GB are free") as caught:
        await pull(make_plan(PullRequest("org/model")))

    assert "disk_full" == caught.value.code
    assert 0 == hub.sent[f"org/model/{UNET}"]


async def test_the_token_stays_with_the_hub(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other host, which has the large files, never receives it."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")

    await pull(make_plan(PullRequest("org/model")))

    assert {None} == {token for _, path, token in hub.asked if path.startswith("/cdn/")}
    assert {"hf_alice"} == {token for _, path, token in hub.asked if not path.startswith("/cdn/")}


PULL = (
    "import asyncio; from octabox.hub.pulls.plan import PullRequest, make_plan; from octabox.hub.pulls.pull import pull; "
    "asyncio.run(pull(make_plan(PullRequest('org/model'))))"
)


def test_a_killed_pull_goes_on_and_two_processes_share(hub: LocalHub) -> None:
    """After kill -9 the next one starts where it was; of two at a time, one downloads, and both succeed."""
    hub.pause = 0.02
    first = subprocess.Popen([sys.executable, "-c", PULL])
    wait_for(hub, 1_500_000)
    first.kill()
    first.wait()
    hub.pause = 0.002
    left, before = make_plan(PullRequest("org/model")).to_fetch, hub.sent[f"org/model/{UNET}"]

    both = [subprocess.Popen([sys.executable, "-c", PULL]) for _ in range(2)]

    assert [0, 0] == [each.wait(60) for each in both]
    assert left <= len(BIG) - 1_000_000
    # The Hub may have been about to send a chunk to the process that was killed.
    assert hub.sent[f"org/model/{UNET}"] - before <= left + CHUNK
    assert find_snapshot("org/model") is not None
    assert commit_of(FILES) == CachedRepo("org/model").commit()


async def test_several_at_a_time(hub: LocalHub) -> None:
    """Pulls of different models do not wait for each other."""
    hub.add("org/other", {**FILES, UNET: os.urandom(100_000)})

    folders = await asyncio.gather(*(pull(make_plan(PullRequest(name))) for name in ("org/model", "org/other")))

    assert folders == [find_snapshot("org/model"), find_snapshot("org/other")]


async def test_a_disk_without_links(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file of the same content is there, and nothing is downloaded again."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    index = {"_class_name": "X", "tokenizer": ["transformers", "T"], "tokenizer_2": ["transformers", "T"]}
    names = ("tokenizer/merges.txt", "tokenizer_2/merges.txt")
    local_hub.add("org/twins", {"model_index.json": json.dumps(index).encode(), **dict.fromkeys(names, b"a b" * 99)})
    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = await pull(make_plan(PullRequest("org/twins")))

    assert [b"a b" * 99] * 2 == [(folder / each).read_bytes() for each in names]
    assert folder == find_snapshot("org/twins")
    assert () == make_plan(PullRequest("org/twins")).missing
    assert 99 * 3 == sum(local_hub.sent[f"org/twins/{each}"] for each in names)


@pytest.mark.parametrize(
    "place", ["https://localhost:99999/x", "https://[/", "https://a\x7fb/x", "https://" + "a" * 70000]
)
async def test_a_redirect_to_what_is_no_url(local_hub: LocalHub, place: str) -> None:
    """It is an error of the connection, whatever part of the URL is impossible."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": place})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await transfer.Transfer(client, hub_headers).open(f"{local_hub.url}/file")


async def test_a_complete_model_in_a_cache_that_cannot_be_written(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is to be done, so nothing is written; a new commit cannot be stored, which is the error."""
    folder = await pull(make_plan(PullRequest("org/model")))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/cache")

    for name in ("prepare", "write_tree", "set_revision"):
        monkeypatch.setattr(CachedRepo, name, refuse)
    shown: list[PullProgress] = []

    assert folder == await pull(make_plan(PullRequest("org/model")), shown.append)
    assert [(each.done, each.files_done) for each in shown] == [(each.total, each.files) for each in shown]
    assert 1 == len(shown)
    hub.repos["org/model"].files["README.md"] = b"new"
    with pytest.raises(DownloadError, match="Read-only file system") as caught:
        await pull(make_plan(PullRequest("org/model")))
    assert "cache_not_usable" == caught.value.code
