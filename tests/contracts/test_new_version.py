"""A version of diffusers that nobody has seen yet is served without a change."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog, read_package_metadata
from octabox.catalog.signature import json_schema

#: Files of a package that is built as diffusers is, with classes of new names.
NEXT = {
    "__init__.py": "",
    "utils/outputs.py": "class BaseOutput(dict): pass",
    "utils/dummy_objects.py": 'class ZephyrPipeline(metaclass=DummyObject):\n    _backends = ["torch", "librosa"]',
    "image_processor.py": "PipelineImageInput = PIL.Image.Image | np.ndarray | list[PIL.Image.Image]",
    "schedulers/breeze.py": """
        class SchedulerMixin: pass
        class BreezeScheduler(SchedulerMixin):
            def __init__(self, gust: float = 0.1): pass
            def set_timesteps(self, num_inference_steps: int): pass
    """,
    "pipelines/pipeline_utils.py": "class DiffusionPipeline: pass",
    "pipelines/zephyr/zephyr.py": '''
        from ...image_processor import PipelineImageInput
        from ...utils.outputs import BaseOutput
        from ..pipeline_utils import DiffusionPipeline

        class ZephyrOutput(BaseOutput):
            images: list[PIL.Image.Image]

        class ZephyrClipOutput(BaseOutput):
            frames: torch.Tensor | np.ndarray | list[list[PIL.Image.Image]]

        class ZephyrPipeline(DiffusionPipeline):
            """Paints with wind."""
            def __init__(self, transformer: ZephyrTransformer, scheduler: BreezeScheduler): pass
            def check_inputs(self, height, width):
                if height % 12 != 0 or width % 12 != 0:
                    raise ValueError
            def __call__(self, prompt: str | list[str], height: int = 512, width: int = 512,
                generator: torch.Generator | list[torch.Generator] | None = None,
                callback_on_step_end: Callable | None = None) -> ZephyrOutput:
                """Paint."""

        class ZephyrFillPipeline(ZephyrPipeline):
            def __call__(self, prompt: str, image: PipelineImageInput, mask_image: PipelineImageInput) -> ZephyrOutput:
                for _ in self.progress_bar([]): pass

        class ZephyrClipPipeline(ZephyrPipeline):
            def __call__(self, image: PipelineImageInput, prompt: str | None = None) -> ZephyrClipOutput: ...
    ''',
    "modular_pipelines/zephyr.py": '''
        class ModularPipeline: pass
        class ZephyrBlocks:
            """
            Paints with wind.

              Components:
                  transformer (`ZephyrTransformer`)

              Inputs:
                  prompt (`str`):
                      What to paint.

              Outputs:
                  videos (`list`):
                      The videos.
            """
        class ZephyrModularPipeline(ModularPipeline):
            default_blocks_name = "ZephyrBlocks"
    ''',
}


@pytest.fixture
def coming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Return the catalog of the version to come."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))
    for name, text in NEXT.items():
        path = tmp_path / "diffusers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return Catalog(read_package_metadata("diffusers", tmp_path / "diffusers"))


def test_new_classes_are_found(coming: Catalog) -> None:
    """Each new class is there, with its tasks, its output and its way to be stopped."""
    expected = {
        "ZephyrPipeline": (("text-to-image",), "image", "callback_on_step_end"),
        "ZephyrFillPipeline": (("inpainting",), "image", "progress_bar"),
        "ZephyrClipPipeline": (("image-to-video",), "video", "denoiser"),
        "ZephyrModularPipeline": (("text-to-video",), "video", "progress_bar"),
    }

    assert expected == {
        name: (entry.tasks[:1], entry.output_kind, entry.progress) for name, entry in coming.pipelines.items()
    }
    assert ["BreezeScheduler"] == list(coming.schedulers)


def test_new_classes_are_described(coming: Catalog) -> None:
    """A new class has its family, components, needs, sizes and schema."""
    zephyr: PipelineEntry = coming.pipeline("ZephyrPipeline")

    assert ("zephyr", 12, True) == (zephyr.family, zephyr.sizes[0].multiple, zephyr.batches)
    assert ["librosa"] == [need.name for need in zephyr.needs]
    assert frozenset({"transformer", "scheduler"}) == zephyr.required_components
    assert ["prompt"] == json_schema(zephyr)["required"]
