"""Reading blocks by their steps."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.reading.package import read_package

#: Blocks without a docstring: words are read, then one of two ways is gone, then the image is decoded.
SOURCE = """
    class ModularPipeline: pass
    class ModularPipelineBlocks: pass
    class SequentialPipelineBlocks(ModularPipelineBlocks): block_classes = []
    class AutoPipelineBlocks(ModularPipelineBlocks): block_classes = []

    class BrushModularPipeline(ModularPipeline):
        default_blocks_name = "BrushAutoBlocks"

    class Words(ModularPipelineBlocks):
        @property
        def inputs(self): return [InputParam("prompt", required=True, type_hint=str, description="What to paint.")]
        @property
        def intermediate_outputs(self): return [OutputParam("prompt_embeds", type_hint=torch.Tensor)]
        @property
        def expected_components(self): return [ComponentSpec("tokenizer", Tokenizer, config=FrozenDict({"a": 1}))]

    class Resize(ModularPipelineBlocks):
        def __init__(self, output_name: str = "small_image"): self._output = output_name
        @property
        def inputs(self): return [InputParam("image", required=True)]
        @property
        def intermediate_outputs(self): return [OutputParam(name=self._output)]

    class Copy(ModularPipelineBlocks):
        @property
        def inputs(self): return [InputParam("small_image", required=True), InputParam("prompt_embeds", required=True)]

    class CopyBlocks(SequentialPipelineBlocks):
        block_classes = [Resize, Copy]

    class Paint(ModularPipelineBlocks):
        @property
        def inputs(self): return [InputParam(name="steps", default=50, type_hint=int), InputParam(kwargs_type="more")]

    class WayBlocks(AutoPipelineBlocks):
        block_classes = [CopyBlocks, Paint]

    class Decode(ModularPipelineBlocks):
        @property
        def inputs(self): return [InputParam("image_latents"), InputParam("output_type", default="pil")]
        @property
        def intermediate_outputs(self): return [OutputParam("images", type_hint=List[PIL.Image.Image])]
        @property
        def expected_components(self): return [ComponentSpec("vae", Vae)]

    ALL = InsertableDict([("words", Words), ("way", WayBlocks()), ("decode", Decode)])

    class BrushAutoBlocks(SequentialPipelineBlocks):
        block_classes = ALL.values()
        block_names = ALL.keys()
"""


@pytest.fixture
def brush(tmp_path: Path) -> PipelineEntry:
    """Return what is read of a modular pipeline whose blocks have no docstring."""
    (tmp_path / "brush.py").write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    (entry,) = read_package("brushes", tmp_path).pipelines
    return entry


def test_steps_tell_what_is_taken(brush: PipelineEntry) -> None:
    """What no earlier step gives is a parameter; one that only some ways need may be left out."""
    assert {"prompt": True, "image": False, "steps": False, "image_latents": False, "output_type": False} == {
        each.name: each.required for each in brush.parameters
    }


def test_steps_describe_what_is_taken(brush: PipelineEntry) -> None:
    """A parameter has the type, the default and the words of its step."""
    prompt, steps = brush.parameter("prompt"), brush.parameter("steps")

    assert prompt is not None
    assert ("str", "text", "What to paint.") == (prompt.annotation, prompt.kind, prompt.description)
    assert steps is not None
    assert ("int", "integer", 50) == (steps.annotation, steps.kind, steps.default)


def test_steps_tell_what_comes_out(brush: PipelineEntry) -> None:
    """The last step's outputs are those of the whole, and all steps' components are its components."""
    assert ["images"] == [field.name for field in brush.outputs]
    assert "image" == brush.output_kind
    assert [("tokenizer", "Tokenizer"), ("vae", "Vae")] == sorted(
        (part.name, part.annotation) for part in brush.components
    )
