"""The catalog of the installed diffusers, and a made-up package that is built like it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from octabox.catalog.pipelines import Catalog, load_catalog

#: A package with a pipeline of each way to say what it takes and gives, by file.
MADE_UP = {
    "__init__.py": "",
    "utils/outputs.py": "class BaseOutput(dict):\n    pass",
    "image_types.py": "import PIL\nImageInput = PIL.Image.Image | list[PIL.Image.Image]",
    "pipelines/pipeline_utils.py": "class DiffusionPipeline:\n    pass\n\nclass DeprecatedPipelineMixin:\n    pass",
    "pipelines/brush/output.py": '''
        from ...utils.outputs import BaseOutput

        class BrushOutput(BaseOutput):
            """What a brush gives.

            Args:
                images (`list[PIL.Image.Image]`):
                    The images.
            """

            images: list[PIL.Image.Image] | np.ndarray
    ''',
    "pipelines/brush/plain.py": '''
        from ..pipeline_utils import DiffusionPipeline
        from .output import BrushOutput as Output

        class BrushPipeline(DiffusionPipeline):
            """Paints from words. It has more to say.

            Args:
                paint ([`Paint`]): What it paints with.
            """

            _optional_components = ["varnish"]

            def __init__(self, paint: Paint, varnish: Varnish = None, thick: bool = True):
                super().__init__()

            def check_inputs(self, prompt, prompt_embeds):
                if prompt is None and prompt_embeds is None:
                    raise ValueError("one of them")

            def __call__(
                self,
                prompt: str | list[str] = None,
                steps: int = 50,
                scale: float | None = 7.5,
                mode: Literal["wet", "dry"] = "wet",
                sigmas: list[float] | None = None,
                unit: float = MILLIMETRE,
                generator: torch.Generator | None = None,
                prompt_embeds: torch.Tensor | None = None,
                output_type: str | None = "pil",
                return_dict: bool = True,
                callback_on_step_end: Callable[[int], None] | None = None,
                **kwargs,
            ) -> Output | tuple:
                """Paint.

                Args:
                    prompt (`str` or `list[str]`, *optional*):
                        What to paint, over
                        two lines.
                    steps (`int`, *optional*, defaults to 50): How many strokes.
                """
                return Output(images=[])
    ''',
    "pipelines/brush/copy.py": '''
        from .plain import BrushPipeline

        class BrushImg2ImgPipeline(BrushPipeline):
            """Paints over an image."""

            def __call__(self, prompt: str = None, image: ImageInput = None, strength: float = 0.8):
                """Paint over it.

                Returns:
                    [`BrushOutput`]: The images.
                """
                for _ in self.progress_bar(range(3)):
                    pass
    ''',
    "pipelines/brush/old.py": '''
        from ..pipeline_utils import DeprecatedPipelineMixin
        from .plain import BrushPipeline

        class BrushOldPipeline(DeprecatedPipelineMixin, BrushPipeline):
            """Paints as it used to."""
    ''',
    "pipelines/auto_pipeline.py": """
        AUTO_TEXT2IMAGE_PIPELINES_MAPPING = OrderedDict([("brush", BrushPipeline)])
        AUTO_IMAGE2IMAGE_PIPELINES_MAPPING = OrderedDict()
        if is_paint_available():
            AUTO_IMAGE2IMAGE_PIPELINES_MAPPING["brush"] = BrushImg2ImgPipeline

        class AutoPipelineForText2Image:
            pass
    """,
    "modular_pipelines/brush.py": '''
        class ModularPipeline:
            pass

        class BrushModularPipeline(ModularPipeline):
            default_blocks_name = "BrushBlocks"

        class BrushBlocks:
            """
            Paints block by block.

              Components:
                  paint (`Paint`) easel (`Easel`)

              Inputs:
                  prompt (`str`):
                      What to paint.
                  steps (`None`, *optional*, defaults to 20):
                      TODO: Add description.

              Outputs:
                  images (`list`):
                      The images.
            """

            _workflow_map = {"text2image": {"prompt": True}}
    ''',
    "schedulers/scheduling_drip.py": '''
        class SchedulerMixin:
            pass

        class DripScheduler(SchedulerMixin):
            """Lets it drip.

            Args:
                speed (`float`, defaults to 0.5): How fast.
            """

            def __init__(self, speed: float = 0.5):
                pass

            def set_timesteps(self, num_inference_steps: int):
                pass
    ''',
    "utils/dummy_objects.py": "class BrushPipeline(metaclass=DummyObject):\n    pass",
    "broken.py": "def (",
}


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Return the catalog of the installed diffusers."""
    return load_catalog()


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Write the made-up package and return its folder."""
    folder = tmp_path / "brushes"
    for name, text in MADE_UP.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder
