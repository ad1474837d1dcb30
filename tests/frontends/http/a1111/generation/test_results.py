"""What a response says of each image, also where batches were skipped or interrupted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass, replace
from typing import Any

import pytest
from PIL import Image

from a1111_bodies import IMAGE
from fakes import FakeGenerations, Server
from octabox.frontends.http.a1111.generation.results import Output
from octabox.media.images import encode
from octabox.media.metadata.infotext import split_infotext
from octabox.service.protocols import Models
from octabox.types import Artifact, Event, Generation, GenerationRequest, Progress

PREFIX = "/sdapi/v1"


class Held(FakeGenerations):
    """Finishes all requests but some, which send previews of each output, as the worker does: without metadata."""

    def __init__(self, held: Collection[int]) -> None:
        super().__init__()
        self.held = held
        self.previewed = {index: asyncio.Event() for index in held}

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Yield the events of a request."""
        if (index := len(self.requests)) not in self.held:
            async for event in super().stream(request, models):
                yield event
            return
        self.requests.append(request)
        content, media_type = encode(Image.new("RGB", (24, 16)), request.output, {})
        for turn in range(600):
            for output in range(request.num_outputs):
                seed = (request.seed or 0) + (0 if request.variation else output)
                yield Progress(
                    "running", turn, 600, Artifact("image", media_type, content, seed, {}, "preview"), output
                )
            self.previewed[index].set()
            await asyncio.sleep(0.01)


@dataclass
class Answer:
    """A response, and what `png-info` reads of its last image."""

    images: list[str]
    info: dict[str, Any]
    last: dict[str, str]


async def ended(held: Collection[int], *ends: str, route: str = "txt2img", **body: Any) -> Answer:
    """Return the response to a request of which some batches are ended."""
    server = Server()
    server.generations = Held(held)
    object.__setattr__(server.ctx, "generation", server.generations)
    sent = {"prompt": "a, b: c", "seed": 100, "override_settings": {"sd_model_checkpoint": "demo"}, **body}
    running = asyncio.create_task(server.http.post(f"{PREFIX}/{route}", json=sent))
    for index, end in zip(sorted(held), ends, strict=True):
        # The batches before it have ended, and the next preview is its own.
        server.generations.previewed[index].clear()
        await asyncio.wait_for(server.generations.previewed[index].wait(), 30)
        await asyncio.sleep(0.05)
        await server.http.post(f"{PREFIX}/{end}")
    answer = await asyncio.wait_for(running, 30)
    assert answer.is_success, answer.text
    found = answer.json()
    read = (await server.http.post(f"{PREFIX}/png-info", json={"image": found["images"][-1]})).json()
    prompt, negative, last = split_infotext(read["info"])
    return Answer(found["images"], json.loads(found["info"]), {"prompt": prompt, "negative_prompt": negative, **last})


def pairs(answer: Answer, name: str) -> list[str | None]:
    """Return a pair of each infotext."""
    return [split_infotext(text)[2].get(name) for text in answer.info["infotexts"]]


@pytest.mark.parametrize(
    ("held", "ends", "body", "seeds"),
    [
        ({0}, ["skip"], {"n_iter": 3}, [101, 102]),
        ({1}, ["skip"], {"n_iter": 3}, [100, 102]),
        ({0}, ["skip"], {"n_iter": 2, "batch_size": 2}, [102, 103]),
        ({1}, ["interrupt"], {"n_iter": 2}, [100, 101]),
        ({0, 1}, ["skip", "interrupt"], {"n_iter": 2}, [101]),
        # The last preview of a batch is that of its last image.
        ({1}, ["interrupt"], {"n_iter": 2, "batch_size": 2}, [100, 101, 103]),
    ],
)
@pytest.mark.parametrize("varies", [False, True])
async def test_seeds_are_those_of_the_batch(
    held: set[int], ends: list[str], body: dict[str, Any], seeds: list[int], *, varies: bool
) -> None:
    """Whatever was skipped before; all lists of the response and the infotexts agree."""
    variation = {"subseed": 10, "subseed_strength": 0.5} if varies else {}
    answer = await ended(held, *ends, **{**body, **variation})
    subseeds = [seed - 90 for seed in seeds]

    assert ([100] * len(seeds) if varies else seeds) == answer.info["all_seeds"]
    assert len(seeds) == len(answer.images)
    assert list(map(str, answer.info["all_seeds"])) == pairs(answer, "Seed")
    if varies:
        assert subseeds == answer.info["all_subseeds"]
    if "interrupt" in ends:
        assert str(subseeds[-1] if varies else seeds[-1]) == answer.last["Variation seed" if varies else "Seed"]


@pytest.mark.parametrize("form", ["png", "webp", "jpg"])
async def test_an_interrupted_image_has_its_parameters(form: str) -> None:
    """Those of its request, and of the model where the request has none, in each format of files."""
    settings = {"sd_model_checkpoint": "demo", "samples_format": form}
    answer = await ended(
        {0},
        "interrupt",
        override_settings=settings,
        negative_prompt="bad",
        steps=60,
        sampler_name="DPM++ 2M",
        scheduler="Karras",
        cfg_scale=4.5,
        width=24,
        height=16,
    )
    expected = {
        "prompt": "a, b: c",
        "negative_prompt": "bad",
        "Steps": "60",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras" if form == "png" else "karras",
        "CFG scale": "4.5",
        "Seed": "100",
        "Size": "24x16",
        "Model": "demo",
    }

    assert expected == {name: answer.last.get(name) for name in expected}
    assert ["a, b: c"] == answer.info["all_prompts"]
    assert (60, 4.5, "DPM++ 2M") == tuple(answer.info[name] for name in ("steps", "cfg_scale", "sampler_name"))


async def test_an_interrupted_image_of_a_request_with_defaults() -> None:
    """The steps, the guidance and the sampler are those of the model; the strength is that of the request."""
    answer = await ended(
        {0}, "interrupt", route="img2img", init_images=[IMAGE], denoising_strength=0.5, tiling=True, restore_faces=False
    )

    assert ("0.5", "True", "24x16") == tuple(answer.last[name] for name in ("Denoising strength", "Tiling", "Size"))
    assert {"Steps", "CFG scale", "Sampler", "Model hash"} <= set(answer.last)


def test_several_images_of_one_output() -> None:
    """They have the seed of that output."""
    image = Artifact("image", "image/png", b"")
    generation = Generation("x", "demo", "P", "t", (image, replace(image, kind="array"), *[image] * 3))

    assert [4, 4, 5, 5] == [position for position, _ in Output({2: generation}).finished(2)]


async def test_previews_have_no_warnings() -> None:
    """Their number is not a field of the client."""
    server = Server()
    server.generations.warnings = ("'partial_images': only 0 of 3 could be made of this pipeline's steps.", "another")
    answer = await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x"})

    assert ["another"] == answer.json()["warnings"]
