"""Text encoders of newer releases of transformers in diffusers' pipelines, on the embedded model."""

from __future__ import annotations

from diffusers import DiffusionPipeline

from embedded import Calls, finish
from octabox import demo
from octabox.engine.local import LocalEngine
from octabox.engine.worker.encoders import INNER, layers_in_reach


async def test_layers_of_the_encoder_can_be_left_out(engine: LocalEngine, calls: Calls) -> None:
    """With clip_skip the words are read by fewer layers, so that another picture is made."""
    whole = await finish(engine, calls())
    less = await finish(engine, calls(clip_skip=1))

    assert whole.artifacts[0].content != less.artifacts[0].content


def test_only_a_call_that_leaves_layers_out_sees_them_elsewhere() -> None:
    """Those who load LoRAs tell new encoders from old ones by what is shown to such a call alone."""
    pipe = DiffusionPipeline.from_pretrained(demo.FOLDER)
    before = hasattr(pipe.text_encoder, INNER)
    with layers_in_reach(pipe, {"clip_skip": None}):
        assert before is hasattr(pipe.text_encoder, INNER)
    with layers_in_reach(pipe, {"clip_skip": 1}):
        assert hasattr(pipe.text_encoder, INNER)

    assert before is hasattr(pipe.text_encoder, INNER)
