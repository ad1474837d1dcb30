"""Build the response of ``txt2img`` and ``img2img``."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from octabox.frontends.http.a1111.checkpoints import HASH_DIGITS, identity
from octabox.frontends.http.a1111.generation.infotext import (
    SIGNATURE,
    Guidances,
    build_infotext,
    extra_pairs,
    replace_infotext,
)
from octabox.frontends.http.a1111.generation.parsed import describe_unfinished
from octabox.frontends.http.a1111.generation.passes.hires import second_target
from octabox.frontends.http.a1111.generation.passes.painting import SIDES
from octabox.frontends.http.a1111.generation.plots.plot import Plot, draw_grid
from octabox.frontends.http.a1111.generation.requests import Batches
from octabox.frontends.http.a1111.generation.saving import save_images
from octabox.frontends.http.a1111.generation.schema import GenerationBody, ImageToImageBody
from octabox.frontends.http.a1111.images import join_grid
from octabox.frontends.http.a1111.modules import vae_name
from octabox.frontends.http.a1111.progress.tasks import Preview, Task
from octabox.frontends.http.context import AppContext
from octabox.frontends.naming.json_values import encode_json
from octabox.frontends.naming.renaming import rename_warnings
from octabox.media.images import encode, encode_png, read_size
from octabox.telemetry.installation import package_version
from octabox.types import Artifact, Generation

#: Fields that are not part of the echoed parameters unless the client requests it.
SOURCES = ("init_images", "mask", "latent_mask", "firstpass_image")

#: Parameter of a request to the service for the number of previews.
PREVIEWS = "partial_images"

#: Key of the warnings in ``info.extra_generation_params``.
WARNINGS = "Warnings"


@dataclass(frozen=True)
class Output:
    """The images of a request.

    Args:
        generations: The results of its batches by their indices; those that were skipped or interrupted have none.
        preview: The last preview of a batch that was interrupted.
    """

    generations: Mapping[int, Generation]
    preview: Preview | None = None

    @property
    def is_present(self) -> bool:
        """Whether there is an image."""
        return bool(self.preview or any(_images(each) for each in self.generations.values()))

    @property
    def warnings(self) -> list[str]:
        """The warnings of its batches, but for those about previews, whose number no client sends."""
        found = [text for generation in self.generations.values() for text in generation.warnings]
        return [text for text in found if not text.startswith(f"'{PREVIEWS}'")]

    def finished(self, size: int) -> list[tuple[int, Artifact]]:
        """Return the finished images, each with its index among those of all batches.

        Args:
            size: Number of outputs of a batch.
        """
        found: list[tuple[int, Artifact]] = []
        for batch, generation in sorted(self.generations.items()):
            images = _images(generation)
            # Some pipelines make several images of one output.
            each = max(len(images) // size, 1)
            found += [(batch * size + index // each, image) for index, image in enumerate(images)]
        return found


def _images(generation: Generation) -> list[Artifact]:
    """Return the images of a batch."""
    return [each for each in generation.artifacts if each.kind == "image"]


def _with_preview(batches: Batches, output: Output, known: Collection[str]) -> list[tuple[int, Artifact]]:
    """Return the finished images of a request and its interrupted one, each with its index among those of all batches."""
    found = output.finished(batches.parsed.request.num_outputs)
    if (preview := output.preview) is None:
        return found
    request = batches.request(preview.batch)
    position, artifact = preview.batch * request.num_outputs + preview.output, preview.artifact
    metadata = describe_unfinished(batches.parsed, request, preview.output, known)
    sides = [metadata["params"].get(name) for name in SIDES]
    size = sides if all(sides) else read_size(artifact.content)
    metadata |= {"size": dict(zip(SIDES, size, strict=True)), "seed": batches.parsed.seeds([position])[0][0]}
    if version := package_version("octabox"):
        metadata["version"] = version
    content = artifact.content
    if not content.startswith(SIGNATURE):
        # Other formats than PNG have their metadata from the encoder.
        content = encode(_opened(content), batches.parsed.request.output, metadata)[0]
    return [*found, (position, replace(artifact, content=content, metadata=metadata))]


async def to_response(
    ctx: AppContext, body: GenerationBody, batches: Batches, output: Output, task: Task
) -> dict[str, Any]:
    """Return the body of a response, and store the images where the request asks for it.

    Args:
        ctx: Collaborators of the routes.
        body: The body of the request.
        batches: Its batches.
        output: Its images.
        task: Its task.
    """
    return await asyncio.to_thread(_response, ctx, body, batches, output, task)


def _response(ctx: AppContext, body: GenerationBody, batches: Batches, output: Output, task: Task) -> dict[str, Any]:
    models, parsed = batches.models, batches.parsed
    known = models.catalog.schedulers
    images = _with_preview(batches, output, known)
    artifacts = [each for _, each in images]
    info = models.get(parsed.target.model)
    label = parsed.sampling.label if parsed.sampling.choice else ""
    model_hash = identity(info)[:HASH_DIGITS]
    extra = {"Model hash": model_hash, **({"VAE": vae} if (vae := vae_name(parsed.target.served)) else {})}
    extra |= parsed.pairs
    hires = parsed.request.workflow.get("hires")
    second = second_target(models, hires.get("model"), parsed.target) if hires else parsed.target
    guidances = Guidances(*((each.guidance, each.distilled_guidance) for each in (parsed.target, second)))
    infotexts = [build_infotext(each.metadata, body.prompt, extra, label, known, guidances) for each in artifacts]
    warnings = rename_warnings([*parsed.warnings, *output.warnings], parsed.client_names)
    files = [replace_infotext(each.content, text) for each, text in zip(artifacts, infotexts, strict=True)]
    shown = [base64.b64encode(each).decode("ascii") for each in files] if body.send_images else []
    described = _info(body, batches, images, infotexts, task)
    if body.save_images:
        # The preview of an interrupted image is the last one, and is not stored.
        rows = list(zip(files, (each.media_type for each in artifacts), described["all_seeds"], strict=True))
        rows = rows[:-1] if output.preview else rows
        warnings += save_images(ctx.settings.a1111_outputs, task.job, rows)
    if batches.options.return_grid and not body.do_not_save_grid and len(shown) > 1:
        grid = encode(join_grid([_decoded(each) for each in shown]), parsed.request.output, artifacts[0].metadata)[0]
        shown.insert(0, base64.b64encode(replace_infotext(grid, infotexts[0])).decode("ascii"))
        described |= {"index_of_first_image": 1, "infotexts": [infotexts[0], *infotexts]}
    maps = parsed.maps if body.send_images else ()
    shown += [base64.b64encode(each).decode("ascii") for each in maps]
    described |= {"sd_model_name": info.name, "sd_model_hash": model_hash}
    described["extra_generation_params"] |= {WARNINGS: " ".join(warnings)} if warnings else {}
    described["warnings"] = warnings
    return {"images": shown, "parameters": _parameters(body), "info": encode_json(described), "warnings": warnings}


def to_plot_response(plot: Plot, cells: Sequence[dict[str, Any] | None], body: GenerationBody) -> dict[str, Any]:
    """Return the body of the response to a request for a plot: the grid, and the images of it.

    Args:
        plot: The plot.
        cells: The bodies of the responses to its requests, in their order; None for one without an image.
        body: The body of the request.
    """
    bodies = [each for each in cells if each is not None]
    if not bodies:
        return {"images": [], "parameters": _parameters(body), "info": encode_json({"infotexts": []}), "warnings": []}
    infos = [json.loads(each["info"]) for each in bodies]
    images = [image for each in bodies for image in each["images"]]
    warnings = list(dict.fromkeys(text for each in bodies for text in each["warnings"]))
    info: dict[str, Any] = infos[0] | {
        name: [item for each in infos for item in each[name]]
        for name in ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "infotexts")
    }
    if images:
        first = [None if each is None else _decoded(each["images"][0]) for each in cells]
        text = infos[0]["infotexts"][0]
        grids = [replace_infotext(encode_png(each), text) for each in _grids(plot, first)]
        lone = images if plot.flags["include_lone_images"] else []
        images = [*(base64.b64encode(each).decode("ascii") for each in grids), *lone]
        info["infotexts"] = [*[text] * len(grids), *(info["infotexts"] if lone else [])]
        info["index_of_first_image"] = len(grids)
    info |= {"warnings": warnings}
    axes = {f"{name} Type": axis.name for name, axis in zip("XYZ", plot.axes, strict=True) if axis.name != "Nothing"}
    values = {f"{name} Values": ", ".join(axis.values) for name, axis in zip("XYZ", plot.axes, strict=True)}
    info["extra_generation_params"] |= {"Script": "X/Y/Z plot", **axes, **{k: v for k, v in values.items() if v}}
    return {"images": images, "parameters": _parameters(body), "info": encode_json(info), "warnings": warnings}


def _grids(plot: Plot, images: Sequence[Image.Image | None]) -> list[Image.Image]:
    """Return the grid of a plot, and that of each value of z, if the plot includes them."""
    planes = plot.planes() if plot.flags["include_sub_grids"] and len(plot.axes[2].values) > 1 else []
    count = len(plot.axes[0].values) * len(plot.axes[1].values)
    parts = [(each, images[index * count : (index + 1) * count]) for index, each in enumerate(planes)]
    return [draw_grid(plot, images), *(draw_grid(each, part) for each, part in parts if any(part))]


def _decoded(text: str) -> Image.Image:
    """Return an image of a response."""
    return _opened(base64.b64decode(text))


def _opened(content: bytes) -> Image.Image:
    """Return an image of a file."""
    with Image.open(io.BytesIO(content)) as image:
        decoded: Image.Image = image.convert("RGB")
        return decoded


def _info(
    body: GenerationBody,
    batches: Batches,
    images: Sequence[tuple[int, Artifact]],
    infotexts: Sequence[str],
    task: Task,
) -> dict[str, Any]:
    """Return the description of the images."""
    parsed, artifacts, count = batches.parsed, [each for _, each in images], len(images)
    first = artifacts[0].metadata if artifacts else {}
    params = first.get("params") or {}
    prompts = [_text((each.metadata.get("params") or {}).get("prompt", body.prompt)) for each in artifacts]
    negatives = [_text((each.metadata.get("params") or {}).get("negative_prompt", "")) for each in artifacts]
    seeds, subseeds = parsed.seeds(position for position, _ in images)
    seeds = [seed if each.seed is None else each.seed for each, seed in zip(artifacts, seeds, strict=True)]
    width, height = read_size(artifacts[0].content) if artifacts else (body.width, body.height)
    target = parsed.target
    return {
        "prompt": body.prompt,
        "all_prompts": prompts if "written" in first else [body.prompt] * count,
        "negative_prompt": body.negative_prompt,
        "all_negative_prompts": negatives if "written" in first else [body.negative_prompt] * count,
        "seed": seeds[0] if seeds else parsed.seed,
        "all_seeds": seeds,
        "subseed": parsed.subseed,
        "all_subseeds": subseeds,
        "subseed_strength": body.subseed_strength,
        "width": width,
        "height": height,
        "sampler_name": parsed.sampling.label,
        "cfg_scale": params.get(target.guidance, body.cfg_scale),
        "steps": params.get(target.steps, body.steps),
        "batch_size": len(batches.images) or body.batch_size,
        "restore_faces": body.restore_faces,
        "face_restoration_model": parsed.request.workflow.get("faces", {}).get("model"),
        "sd_vae_name": vae_name(target.served),
        "sd_vae_hash": None,
        "seed_resize_from_w": body.seed_resize_from_w,
        "seed_resize_from_h": body.seed_resize_from_h,
        "denoising_strength": batches.strength,
        "extra_generation_params": extra_pairs(infotexts[0]) if infotexts else {},
        "index_of_first_image": 0,
        "infotexts": list(infotexts),
        "styles": body.styles,
        "job_timestamp": task.timestamp,
        "clip_skip": parsed.layer,
        "is_using_inpainting_conditioning": bool(target.mask),
        "version": f"octabox {package_version('octabox') or '0'}",
        "id_task": task.id,
    }


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _parameters(body: GenerationBody) -> dict[str, Any]:
    """Return the fields of a request, with their defaults and without its images."""
    fields = {name: getattr(body, name) for name in type(body).model_fields}
    for name in ("sampler_name", "scheduler", "sampler_index"):
        fields[name] = getattr(body, name)
    if not (isinstance(body, ImageToImageBody) and body.include_init_images):
        fields |= {name: None for name in SOURCES if name in fields}
    fields["alwayson_scripts"] = {name: {"args": []} for name in body.alwayson_scripts}
    return fields
