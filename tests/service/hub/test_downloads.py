"""Downloads in the background, and as a part of a request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from local_hub import LocalHub
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Engine
from octabox.errors import DownloadError, GatedModelError, GenerationNotFoundError
from octabox.hub.pulls.links import ModelFolders
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.snapshots import find_snapshot
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.hub.pulls import Pulls
from octabox.types import Progress

UNET = "unet/diffusion_pytorch_model.safetensors"
FILES = {"model_index.json": b'{"_class_name": "X", "unet": ["diffusers", "U"]}', UNET: os.urandom(2_000_000)}
CONFIG = ModelConfig(name="m", model="org/model")


class IdleEngine:
    """Has no model in memory."""

    loaded: tuple[Any, ...] = ()

    def status(self) -> list[Any]:
        """Return the models in memory."""
        return [*self.loaded]


@pytest.fixture
def hub(local_hub: LocalHub) -> LocalHub:
    """Return a Hub with a model that takes a second."""
    local_hub.add("org/model", FILES)
    local_hub.pause = 0.02
    return local_hub


@pytest.fixture
async def pulls(tmp_path: Path) -> AsyncIterator[Pulls]:
    """Return the downloads of a server."""
    pulls = Pulls(ModelFolders(tmp_path / "models", tmp_path / "loras", tmp_path / "embeddings"))
    yield pulls
    await pulls.close()


def downloads(pulls: Pulls, engine: IdleEngine | None = None) -> ModelDownloads:
    """Return the downloads of requests."""
    return ModelDownloads(pulls, cast("Engine", engine or IdleEngine()))


async def test_a_request_sees_its_model_arrive(hub: LocalHub, pulls: Pulls) -> None:
    """Its progress is in bytes, grows, and ends with all; the next request waits for nothing."""
    progress = [each async for each in downloads(pulls).stream(CONFIG)]
    again = [each async for each in downloads(pulls).stream(CONFIG)]
    total = sum(map(len, FILES.values()))

    assert {"downloading"} == {each.phase for each in progress}
    assert sorted(progress, key=lambda each: each.step) == progress
    assert len(progress) > 3
    assert Progress("downloading", total, total) == progress[-1]
    assert ([], 1) == (again, len(pulls.list()))
    assert find_snapshot("org/model") is not None


async def test_two_requests_share_a_download(hub: LocalHub, pulls: Pulls) -> None:
    """It goes on as long as one of them waits, and ends with the last."""
    first, second = downloads(pulls).stream(CONFIG), downloads(pulls).stream(CONFIG)
    await anext(first)
    await anext(second)
    (job,) = pulls.list()

    await first.aclose()
    assert "in_progress" == str(job.status)
    await second.aclose()
    assert "cancelled" == job.status
    assert find_snapshot("org/model") is None


async def test_a_request_does_not_join_a_download_that_is_being_cancelled(hub: LocalHub, pulls: Pulls) -> None:
    """While the last client of one leaves, another one asks for the same model: it gets it, with what was received."""
    first = downloads(pulls).stream(CONFIG)
    while (await anext(first)).step < 500_000:
        pass
    (job,) = pulls.list()
    leaving = asyncio.create_task(first.aclose())
    await asyncio.sleep(0)
    hub.pause = 0.0
    assert (True, None) == (job.closing, job.ended)
    await downloads(pulls).finish(CONFIG)
    await leaving

    assert ["cancelled", "completed"] == [each.status for each in pulls.list()]
    assert find_snapshot("org/model") is not None
    assert hub.sent[f"org/model/{UNET}"] < 2 * len(FILES[UNET]) - 400_000


async def test_a_download_by_itself_goes_on(hub: LocalHub, pulls: Pulls) -> None:
    """What was started by name is not cancelled by a request that leaves; it is cancelled by its id."""
    job = pulls.start(PullRequest("org/model"))
    stream = downloads(pulls).stream(CONFIG)
    await anext(stream)
    await stream.aclose()

    assert "in_progress" == str(job.status)
    await pulls.cancel(pulls.find(job.id))
    assert "cancelled" == job.status
    assert job.ended is not None


async def test_a_loaded_model_is_not_looked_for(hub: LocalHub, pulls: Pulls) -> None:
    """A request for it asks nothing of the Hub, and neither does one for a folder."""
    engine = IdleEngine()
    engine.loaded = (type("Status", (), {"model": "m"}),)
    await downloads(pulls, engine).finish(CONFIG)
    await downloads(pulls).finish(ModelConfig(name="f", model=str(Path(__file__).parent)))

    assert [] == hub.asked


async def test_a_refusal_is_the_error_of_the_request(hub: LocalHub, pulls: Pulls) -> None:
    """With the link to the terms."""
    hub.add("org/gated", FILES, gated="auto")

    with pytest.raises(GatedModelError, match=f"{hub.url}/org/gated"):
        await downloads(pulls).finish(ModelConfig(name="g", model="org/gated"))


async def test_requests_of_a_download_that_fails_have_an_error_each(hub: LocalHub, pulls: Pulls) -> None:
    """What is added to one of them, such as the stage of a cascade, is not in the others."""
    hub.spoilt.add(f"org/model/{UNET}")
    finishes = [downloads(pulls).finish(CONFIG) for _ in range(2)]
    first, second = await asyncio.gather(*finishes, return_exceptions=True)

    assert 1 == len(pulls.list())
    assert isinstance(first, DownloadError)
    assert isinstance(second, DownloadError)
    assert first is not second


async def test_an_unknown_id(pulls: Pulls) -> None:
    """It is an error with the route that lists them."""
    with pytest.raises(GenerationNotFoundError, match="no download 'x'"):
        pulls.find("x")


async def test_a_named_model_gets_a_configuration(hub: LocalHub, pulls: Pulls, tmp_path: Path) -> None:
    """It is served under the name from then on."""
    hub.pause = 0
    job = pulls.start(PullRequest("org/model", variant=None), "mine")
    states = [each.status async for each in pulls.follow(job)]

    assert "completed" == states[-1]
    assert "name: mine\nmodel: org/model\n" == (tmp_path / "models" / "mine.yaml").read_text()
    await asyncio.sleep(0)
