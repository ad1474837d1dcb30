"""Requests of the A1111 API that differ in all that a request may change leave no trace, in images, memory or files."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from diffusers import AutoencoderKL

from a1111_images import BASE, STAR, encoded, mask
from control import outline
from octabox import demo
from serving import started_server
from trained import EDGES, HEARTS

#: Number of requests, of which each tenth is the one that is compared.
COUNT, EACH = 200, 10

#: After how many requests, when all has been loaded, and how often the memory is measured.
WARM, INTERVAL = 60, 20

#: Bytes by which the memory of all processes may typically grow in an interval: by 150 KiB for each request.
GROWTH = 3 << 20

#: The request that is compared, which is small, since what others may leave does not depend on its size.
PLAIN: dict[str, Any] = {**BASE, "steps": 3, "width": 64, "height": 64}

LORA = "a red circle <lora:drawn-hearts:{}>"
CONTROL = {"alwayson_scripts": {"controlnet": {"args": [{"image": encoded(outline()), "model": "edges"}]}}}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5}
MASKED = {"init_images": [encoded(STAR)], "mask": encoded(mask()), "denoising_strength": 0.5}

#: Other requests: the route, fields, options, and the status.
OTHERS: tuple[tuple[str, dict[str, Any], dict[str, Any], int], ...] = (
    ("txt2img", {"sampler_name": "DPM++ 2M SDE", "scheduler": "Exponential"}, {}, 200),
    ("txt2img", {"prompt": LORA.format(0.9), "sampler_name": "Euler a"}, {}, 200),
    ("txt2img", CONTROL, {}, 200),
    ("txt2img", {"tiling": True, "prompt": LORA.format(0.5)}, {}, 200),
    ("txt2img", {}, {"CLIP_stop_at_last_layers": 2, "samples_format": "jpg"}, 200),
    ("txt2img", {"sampler_name": "Euler", "s_churn": 5, "s_noise": 1.01}, {"sd_model_checkpoint": "edged"}, 200),
    ("img2img", {**MASKED, "inpainting_fill": 2}, {"tiling": True}, 200),
    ("txt2img", {"subseed": 3, "subseed_strength": 0.4, "prompt": "a (green:1.4) star # red"}, {}, 200),
    ("txt2img", {**HIRES, "hr_upscaler": "Latent", "hr_prompt": LORA.format(1)}, {}, 200),
    ("txt2img", {"sampler_name": "UniPC", "eta": 0.5}, {"sd_vae": "dark", "CLIP_stop_at_last_layers": 2}, 200),
    ("txt2img", {"prompt": "a star <lora:nothere:1>", "tiling": True}, {}, 400),
    ("txt2img", {"batch_size": 2, "n_iter": 2, "negative_prompt": "a star"}, {"return_grid": True}, 200),
    ("txt2img", {"sampler_name": "nothere"}, {"CLIP_stop_at_last_layers": 2}, 404),
    ("img2img", {**MASKED, "prompt": LORA.format(0.7), "inpaint_full_res": False}, {}, 200),
    ("txt2img", {"seed_resize_from_w": 96, "seed_resize_from_h": 96, "clip_skip": 2}, {}, 200),
    ("txt2img", {**CONTROL, "prompt": LORA.format(0.3), "sampler_name": "DDIM"}, {"tiling": True}, 200),
    ("txt2img", {**HIRES, "hr_upscaler": "Lanczos", "hr_sampler_name": "Heun", "hr_scheduler": "Karras"}, {}, 200),
)


@dataclass(frozen=True)
class Running:
    """A server, and what it may leave.

    Args:
        process: Its process.
        url: Its address.
        folders: The folders in which it may leave files.
    """

    process: psutil.Process
    url: str
    folders: tuple[Path, ...]

    def files(self) -> set[Path]:
        """Return the files in its folders."""
        return {each for folder in self.folders for each in folder.rglob("*") if each.is_file()}

    def descriptors(self) -> int:
        """Return the number of open files and connections of all its processes."""
        return sum(each.num_fds() for each in self.processes())

    def memory(self) -> int:
        """Return the bytes that its processes have written and do not share: those of files depend on other programs."""
        return sum(part.private_dirty for each in self.processes() for part in each.memory_maps())

    def processes(self) -> list[psutil.Process]:
        """Return its process, the one that its workers are forked from, and the workers."""
        return [self.process, *self.process.children(recursive=True)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server of the embedded model, of one with a ControlNet, and of one with another VAE, with a LoRA."""
    models, temporary, data = (tmp_path_factory.mktemp(name) for name in ("models", "temporary", "data"))
    (models / "loras").mkdir()
    shutil.copy(HEARTS, models / "loras" / "drawn-hearts.safetensors")
    vae = AutoencoderKL.from_pretrained(demo.FOLDER, subfolder="vae")
    with torch.no_grad():
        vae.decoder.conv_out.bias -= 0.5
    vae.save_pretrained(models / "vaes" / "dark")
    (models / "edged.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{controlnet: {{model: {EDGES}}}}}\n")
    (models / "dark.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{vae: {{model: vaes/dark}}}}\n")
    environment = {"TMPDIR": str(temporary), "OCTABOX_DATA_DIR": str(data)}
    with started_server(models, environment=environment) as (url, process):
        yield Running(psutil.Process(process.pid), url, (models, temporary, data))


def ask(http: httpx.Client, route: str = "txt2img", options: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Return the response to a request for a small image of the embedded model."""
    settings = {"sd_model_checkpoint": "demo", **(options or {})}
    return http.post(f"/sdapi/v1/{route}", json={**PLAIN, **fields, "override_settings": settings})


def shown(http: httpx.Client, model: str) -> tuple[list[str], list[str]]:
    """Return the files of the compared request by a model, and the descriptions of its images."""
    body = ask(http, options={"sd_model_checkpoint": model}).json()
    return body["images"], json.loads(body["info"])["infotexts"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # It takes one or two minutes, and more on a busy machine.
def test_alternating_requests_leave_no_trace(running: Running) -> None:
    """Models, LoRAs, samplers and options of one request, also of one that fails, are not those of the next.

    The memory of all processes, their open files and the files that they store do not grow either.
    """
    clients = [httpx.Client(base_url=running.url, timeout=240, trust_env=False) for _ in range(2)]
    (reference, other), models = clients, ("demo", "edged")
    # Its cookie, without which its options would be those of its address.
    other.get("/sdapi/v1/options")
    others = itertools.cycle(OTHERS)
    before = {model: shown(reference, model) for model in models}
    memory: list[int] = []
    descriptors: list[int] = []
    files: list[set[Path]] = []
    for index in range(COUNT):
        if index % EACH == 0:
            # Options of another client stay, unlike those of its requests.
            other.post("/sdapi/v1/options", json={"tiling": index % (2 * EACH) == 0, "CLIP_stop_at_last_layers": 2})
            model = models[index // EACH % 2]

            assert before[model] == shown(reference, model), index
        else:
            route, fields, options, status = next(others)
            answer = ask(other if index % 2 else reference, route, options, **fields)

            assert status == answer.status_code, answer.text
        if index >= WARM and (index + 1) % INTERVAL == 0:
            memory.append(running.memory())
            descriptors.append(running.descriptors())
            files.append(running.files())
    after = {model: shown(reference, model) for model in models}
    for client in clients:
        client.close()
    assert before == after
    assert growth(memory) < GROWTH, memory
    assert growth(descriptors) <= 0, descriptors
    assert files[0] == files[-1]


def growth(values: list[int]) -> float:
    """Return by how much a value grows in a typical interval: what stays of requests grows in each, a process starts in one."""
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(values))
