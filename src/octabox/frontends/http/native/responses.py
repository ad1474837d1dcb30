"""From a generation to an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from octabox.frontends.http import errors
from octabox.frontends.http.links import as_base64, link
from octabox.service.jobs import Job
from octabox.types import AdapterReport, Artifact, Generation, Progress


async def output_to_json(artifact: Artifact, address: str | None) -> dict[str, Any]:
    """Return a finished thing: with its link where it has one, else with its content; text is there as text too.

    Args:
        artifact: The thing.
        address: Where it can be fetched.
    """
    told: dict[str, Any] = {"kind": artifact.kind, "media_type": artifact.media_type, "name": artifact.name}
    if address is None:
        told["b64_json"] = await as_base64(artifact)
    else:
        told["url"] = address
    if artifact.kind == "text":
        told["text"] = artifact.content.decode("utf-8", "replace")
    return {**told, "seed": artifact.seed, "metadata": dict(artifact.metadata)}


def without_content(artifact: Artifact, address: str | None) -> dict[str, Any]:
    """Return what is remembered of a finished thing: all but its content."""
    told: dict[str, Any] = {"kind": artifact.kind, "media_type": artifact.media_type, "name": artifact.name}
    if address is not None:
        told["url"] = address
    return {**told, "seed": artifact.seed, "metadata": dict(artifact.metadata)}


def whole(generation: Generation, outputs: Sequence[dict[str, Any]], warnings: Iterable[str]) -> dict[str, Any]:
    """Return the body of an answer."""
    return {
        "id": generation.id,
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "outputs": outputs,
        "warnings": [*warnings, *generation.warnings],
        "adapters": [told_adapter(each) for each in generation.adapters],
        "timings": dict(generation.timings),
    }


def told_adapter(report: AdapterReport) -> dict[str, Any]:
    """Return what became of a LoRA: how strongly it was applied, and how many of its tensors the model took."""
    return {
        "lora": report.lora,
        "weight": report.weight,
        "weights": dict(report.weights),
        "keys": report.keys,
        "used": report.used,
    }


def addresses(job: Job, count: int, base: str) -> list[str | None]:
    """Return where each of a job's outputs can be fetched; None for those that were not kept."""
    return [link(base, name) for name in job.files] if job.files else [None] * count


def remembered(job: Job, generation: Generation, base: str, warnings: Iterable[str]) -> dict[str, Any]:
    """Return an answer without its content, as it is told once that has been sent."""
    places = addresses(job, len(generation.artifacts), base)
    outputs = [without_content(*each) for each in zip(generation.artifacts, places, strict=True)]
    return whole(generation, outputs, warnings)


def told_progress(progress: Progress) -> dict[str, Any]:
    """Return how far a request is."""
    return {
        "phase": progress.phase,
        "step": progress.step,
        "steps": progress.steps,
        "position": progress.position,
        "output": progress.output,
        "part": progress.part,
        "parts": progress.parts,
    }


def job_to_json(job: Job, base: str) -> dict[str, Any]:
    """Return what is known of a request by its id."""
    warnings = job.note if isinstance(job.note, tuple) else ()
    return {
        "id": job.id,
        "object": "generation",
        "status": job.status,
        "model": job.request.model,
        "created_at": job.created,
        "ended_at": job.ended,
        "expires_at": job.expires,
        "progress": told_progress(job.progress),
        "result": remembered(job, job.result, base, warnings) if job.result else None,
        "error": errors.body(job.error)["error"] if job.error else None,
    }
