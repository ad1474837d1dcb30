"""Time the load of a model, and its peak of host memory, against the library's own `from_pretrained(...).to(device)`.

The model is made on the spot, with random weights: a UNet like Stable Diffusion's, half as wide, its autoencoder and text
encoder. Each load runs in a separate process, without its imports; both kinds alternate. Targets: at most 1.05 times
the seconds and 1.05 times the memory.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: The dtype that weights are stored in, and the one that they are loaded in.
PAIRS = (("float32", "float32"), ("float32", "float16"), ("float16", "float16"))

#: Loads of each kind and pair.
TIMES = 3

#: Class of the model.
PIPELINE = "StableDiffusionPipeline"


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as place:
        make(Path(place))
        size = sum(file.stat().st_size for file in (Path(place) / "float32").rglob("*.safetensors"))
        print(f"weights in float32 {size / 2**20:18.0f} MiB")
        for stored, wanted in PAIRS:
            rows = [
                (measured("plain", place, stored, wanted), measured("ours", place, stored, wanted))
                for _ in range(TIMES)
            ]
            plain, ours = rows[0]
            seconds = statistics.median(row[1]["seconds"] / row[0]["seconds"] for row in rows)
            memory = statistics.median(row[1]["memory"] / row[0]["memory"] for row in rows)
            shown = f"{plain['seconds']:.2f} s and {plain['memory'] / 2**20:.0f} MiB plain, "
            shown += f"{ours['seconds']:.2f} s and {ours['memory'] / 2**20:.0f} MiB ours"
            print(
                f"{stored} as {wanted:10} {seconds:6.2f} times the seconds, {memory:.2f} times the memory ({shown} at first)"
            )


def make(place: Path) -> None:
    """Write the model into two folders, by the dtype of the weights."""
    import torch  # noqa: PLC0415 (the processes that load import it by themselves)
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel  # noqa: PLC0415
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: PLC0415

    from octabox.hub.checkpoints import bundles  # noqa: PLC0415

    with bundles.bundle_folder("sd1", PIPELINE) as folder:
        tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(64, 128),
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(num_hidden_layers=4, hidden_size=512, intermediate_size=2048)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=64, block_out_channels=(128, 256, 384, 384), cross_attention_dim=512, attention_head_dim=8
        ),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for dtype in ("float32", "float16"):
        pipe.to(dtype=getattr(torch, dtype)).save_pretrained(place / dtype)


def measured(kind: str, *arguments: str) -> dict[str, float]:
    """Return the seconds and the bytes of memory of a load in a separate process, without its imports."""
    command = [sys.executable, __file__, kind, *arguments]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
    }
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def load(kind: str, place: str, stored: str, wanted: str) -> None:
    """Load the model, and print what that took."""
    import torch  # noqa: PLC0415 (its import is not part of what is timed)
    from diffusers import StableDiffusionPipeline  # noqa: PLC0415
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401, PLC0415

    from octabox.catalog.pipelines import load_catalog  # noqa: PLC0415
    from octabox.config.model import ModelConfig  # noqa: PLC0415
    from octabox.engine.messages import WorkerOptions  # noqa: PLC0415
    from octabox.engine.worker.loading import models  # noqa: PLC0415
    from octabox.engine.worker.placement.device import choose_device  # noqa: PLC0415

    device = choose_device(None, "load")
    load_catalog()
    before, began = peak(), time.perf_counter()
    if kind == "ours":
        config = ModelConfig.model_validate({"name": "load", "model": f"{place}/{stored}", "dtype": wanted})
        kept = models.load(config, PIPELINE, WorkerOptions(device=device)).pipeline
    else:
        kept = StableDiffusionPipeline.from_pretrained(f"{place}/{stored}", dtype=getattr(torch, wanted)).to(device)
    seconds = time.perf_counter() - began
    if kept.unet.dtype != getattr(torch, wanted):
        raise SystemExit(f"the weights are in {kept.unet.dtype}")
    print(json.dumps({"seconds": seconds, "memory": max(peak() - before, 1)}))


def peak() -> int:
    """Return the most bytes of memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    if sys.argv[1:]:
        load(*sys.argv[1:])
    else:
        main()
