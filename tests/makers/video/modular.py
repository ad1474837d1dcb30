"""Modular pipelines of videos: the parts of other families, run by blocks."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.video import hunyuan, ltx, ltx2, newest, singles, wan


def _unnamed(parts: dict[str, Any], *without: str) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if name not in without and part is not None}


def _unipc() -> Any:
    return diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)


def _wan_from_image() -> dict[str, Any]:
    return _unnamed(wan.from_image(), "transformer_2") | {"scheduler": _unipc()}


def _wan_of_two_from_image() -> dict[str, Any]:
    two = {name: wan.transformer(in_channels=12) for name in ("transformer", "transformer_2")}
    return _unnamed(wan.from_image(), "image_encoder", "image_processor") | two | {"scheduler": _unipc()}


def _wan_vace() -> dict[str, Any]:
    parts = wan.vace()
    return parts | {"transformer_2": wan.vace()["transformer"], "scheduler": _unipc()}


def _distilled() -> dict[str, Any]:
    scheduler = diffusers.HeliosDMDScheduler(stages=2, stage_range=[0, 0.5, 1], gamma=0.25)
    return singles.helios_in_stages() | {"scheduler": scheduler}


_PICTURED = {**wan.SMALL, "image": "sample:image"}
_CHUNKS = {**singles.SMALL, "num_latent_frames_per_chunk": 2}
_PYRAMID = {**_CHUNKS, "height": 32, "width": 32, "pyramid_num_inference_steps_list": [2, 2]}

PIPELINES = (
    Tiny("WanImage2VideoModularPipeline", _wan_from_image, _PICTURED),
    Tiny("Wan22Image2VideoModularPipeline", _wan_of_two_from_image, _PICTURED),
    Tiny("Wan22VaceModularPipeline", _wan_vace, {**wan.SMALL, "num_frames": 9}),
    Tiny("LTXModularPipeline", ltx.parts, ltx.SMALL),
    Tiny("LTX2ModularPipeline", ltx2.parts, ltx2.SMALL),
    Tiny("LTX25ModularPipeline", lambda: ltx2.parts(**ltx2.decoding()), ltx2.SMALL),
    Tiny(
        "HunyuanVideo15ModularPipeline",
        lambda: hunyuan.second(task_type="t2v"),
        hunyuan.SMALL,
        leaves_out={"image-to-video": "Weights for it are others: these were trained for words alone."},
    ),
    Tiny("HeliosModularPipeline", lambda: singles.helios(stages=1), _CHUNKS),
    Tiny("HeliosPyramidModularPipeline", singles.helios_in_stages, _PYRAMID),
    Tiny("HeliosPyramidDistilledModularPipeline", _distilled, _PYRAMID),
    Tiny("Cosmos3OmniModularPipeline", newest.cosmos, newest.SMALL),
    Tiny(
        "EchoModularPipeline",
        lambda: _unnamed(ltx2.parts(), "scheduler"),
        {**ltx2.SMALL, "sigmas": [1.0, 0.5, 0.0]},
        leaves_out={"audio-to-video": "It remembers an audio only beside an image."},
    ),
)
