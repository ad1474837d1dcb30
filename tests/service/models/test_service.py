"""What a server prepares before it is ready, and how cascades leave it."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import pytest

from fake_worker import LIMIT, FakeProcesses, FakeWorkers, engine_of
from makers import pipelines
from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import ModelRegistry
from octabox.config.model import ModelConfig
from octabox.config.settings import Settings
from octabox.engine.local.devices import DevicePool
from octabox.engine.protocol import Engine
from octabox.hub.pulls.links import ModelFolders
from octabox.server import build
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.hub.pulls import Pulls
from octabox.service.models.service import ServerModels

#: Seconds until the survey of the devices is given up.
SURVEY = 0.1


@pytest.fixture
def one_model(tmp_path: Path) -> Path:
    """Return a models folder with a configuration that names a device."""
    (tmp_path / "one.yaml").write_text("model: runwayml/stable-diffusion-v1-5\ndevice: cuda:7\n", encoding="utf-8")
    return tmp_path


async def test_a_server_is_ready_while_devices_are_looked_for(
    one_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It waits for the catalog alone; once the devices are known, configurations that name another one are logged."""
    parts, found = build(Settings.load({"models": one_model}, environ={})), asyncio.Event()

    async def find() -> list[str]:
        await found.wait()
        return ["cuda:0"]

    parts.models.check_devices_by(find)
    load_catalog.cache_clear()
    preparation = asyncio.create_task(parts.models.prepare())
    for _ in range(100 * LIMIT):
        if parts.models.ready():
            break
        await asyncio.sleep(0.01)
    assert parts.models.ready()
    assert not preparation.done()
    found.set()
    await asyncio.wait_for(preparation, LIMIT)

    assert "There is no device 'cuda:7' on this machine." in capfd.readouterr().err
    await parts.close()


async def test_devices_that_are_not_found_in_time_are_unknown(
    one_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever prepares the server goes on, a log states it, and no configuration is reported for its device."""
    parts, answers = build(Settings.load({"models": one_model}, environ={})), asyncio.Event()
    pool, loop = DevicePool(FakeProcesses(spawns=True), SURVEY), asyncio.get_running_loop()
    pool.ask = lambda *_: asyncio.run_coroutine_threadsafe(answers.wait(), loop).result()  # type: ignore[method-assign,assignment]
    parts.models.check_devices_by(pool.names)
    await asyncio.wait_for(parts.models.prepare(), LIMIT)
    answers.set()

    logged = capfd.readouterr().err
    assert "The accelerators cannot be listed in 0.1 seconds" in logged
    assert "cuda:7" not in logged
    await parts.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with a model that makes images, and one that makes them larger."""
    folder = tmp_path_factory.mktemp("models")
    for name, kind in (("small", "IFPipeline"), ("larger", "IFSuperResolutionPipeline")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipelines()[kind].make().save_pretrained(str(folder / name))
    return folder


class SlowDownloads(ModelDownloads):
    """Downloads that have ended only once `ended` is set."""

    def __init__(self, pulls: Pulls, engine: Engine) -> None:
        super().__init__(pulls, engine)
        self.started, self.ended = asyncio.Event(), asyncio.Event()

    async def finish(self, config: ModelConfig) -> None:
        """Wait for that."""
        del config
        self.started.set()
        await self.ended.wait()


@pytest.mark.parametrize("stage", [{"model": "small", "dtype": "float32"}, "small"])
async def test_a_cascade_that_is_removed_twice_leaves_memory(folder: Path, stage: object) -> None:
    """Its load may end after the first removal; the second one unloads what that has brought into memory."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    downloads = SlowDownloads(Pulls(ModelFolders(folder, folder / "loras", folder / "embeddings")), engine)
    models = ServerModels(ModelRegistry(folder), engine, downloads=downloads)
    models.add(
        ModelConfig.model_validate({"name": "added", "stages": [stage, {"model": "larger", "dtype": "float32"}]})
    )
    load = asyncio.create_task(models.load("added"))
    await asyncio.wait_for(downloads.started.wait(), LIMIT)
    assert not await models.remove("added")
    downloads.ended.set()
    await asyncio.wait_for(load, LIMIT)
    assert [True] == [each.alive for each in workers.started]

    assert await models.remove("added")

    assert ([False], []) == ([each.alive for each in workers.started], models.status())
    assert not await models.remove("added")
    await engine.close()
