"""What the tests of workflows share: the embedded model behind the one door, and images it has made."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from ip_adapters import save_all
from makers import pipelines
from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.settings import Settings
from octabox.server import Parts, build
from trained import EDGES, LORAS
from upscalers import nearest, save
from workflow_images import STEPS, Drawing


@pytest.fixture(scope="session")
async def parts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parts]:
    """Return all parts over a models folder with a tiny upscaler, a model of videos, and one that takes no images."""
    folder = tmp_path_factory.mktemp("models")
    for name, kind in {
        "larger": "StableDiffusionUpscalePipeline",
        "clips": "LTXPipeline",
        "alone": "PixArtAlphaPipeline",
        "base": "StableDiffusionXLPipeline",
    }.items():
        tiny = pipelines()[kind]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tiny.make().save_pretrained(str(folder / "weights" / name))
        known = {each.name for each in load_catalog().pipeline(kind).parameters}
        defaults = {key: each for key, each in tiny.params.items() if isinstance(each, int | float) and key in known}
        config = {"name": name, "model": f"weights/{name}", "defaults": defaults}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    # The last one, as another model over the same weights.
    (folder / "finer.yaml").write_text(yaml.safe_dump({**config, "name": "finer"}), encoding="utf-8")
    shutil.copytree(LORAS, folder / "loras")
    broken = shutil.copytree(demo.FOLDER, folder / "weights" / "broken")
    weights = next((broken / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    (folder / "broken.yaml").write_text("model: weights/broken\n", encoding="utf-8")
    outlined = f"model: {demo.FOLDER}\ncomponents: {{controlnet: {{model: {EDGES}}}}}\n"
    (folder / "outlined.yaml").write_text(outlined, encoding="utf-8")
    twofold = f"model: {demo.FOLDER}\ncomponents: {{controlnet: [{{model: {EDGES}}}, {{model: {EDGES}}}]}}\n"
    (folder / "twofold.yaml").write_text(twofold, encoding="utf-8")
    images = save_all(tmp_path_factory.mktemp("pictures"))
    prompted: dict[str, Any] = {"name": "prompted", "model": str(demo.FOLDER)}
    prompted["ip_adapters"] = {"model": str(images), "subfolder": "models", "weight_name": "first.safetensors"}
    (folder / "prompted.yaml").write_text(yaml.safe_dump(prompted), encoding="utf-8")
    save(nearest(2), folder / "twice.pth")
    twin = {"name": "twin", "model": str(demo.FOLDER), "defaults": {"num_inference_steps": STEPS}}
    (folder / "twin.yaml").write_text(yaml.safe_dump(twin), encoding="utf-8")
    limits = {"max_image_pixels": 1024 * 1024, "max_outputs": 4, "queue_size": 4}
    parts = build(Settings.load({"models": folder, "threads": 1, "log_level": "error", **limits}))
    await parts.engine.start([])
    yield parts
    await parts.engine.close()


@pytest.fixture
def draw(parts: Parts) -> Drawing:
    """Return what asks for images."""
    return Drawing(parts)


@pytest.fixture(scope="session")
async def plain(parts: Parts) -> bytes:
    """Return the file of an image of the embedded model."""
    return (await Drawing(parts)()).artifacts[0].content
