"""Samplers and schedules of the web UI, as far as a model trained by flow matching can have them."""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from a1111_bodies import IMAGE, sent
from fakes import Server
from octabox.frontends.http.a1111.generation.sampling import sampling_of
from octabox.frontends.http.a1111.generation.targets import Target, image_target, text_target
from octabox.frontends.http.a1111.samplers import LABELS, is_default, list_schedules
from octabox.schedulers.compatibility import check_settings
from octabox.schedulers.names import resolve_scheduler
from octabox.service.model_schedulers import check_scheduler, traits_of
from octabox.types import SchedulerChoice

FLOW = {"sd_model_checkpoint": "flow"}


@pytest.fixture
def flow(tmp_path: Path) -> Server:
    """Return a server of a model of flow matching, with the scheduler of its own files."""
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusion3Pipeline"}))
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(tmp_path / "scheduler")
    server = Server()
    server.add("flow", "StableDiffusion3Pipeline", str(tmp_path))
    return server


def accepted(server: Server, target: Target, choice: SchedulerChoice) -> bool:
    """Return whether the service accepts a sampler for a pipeline; it raises the error otherwise."""
    known = server.models.catalog.schedulers
    resolved = resolve_scheduler(choice.name, choice.settings, known)
    check_settings(choice.name, resolved, known[resolved.kind], choice.settings)
    traits = traits_of(target.served, server.models.catalog)
    assert traits is not None
    check_scheduler(SchedulerChoice(resolved.kind, resolved.settings), target.entry, traits, server.models.catalog)
    return True


def test_each_sampler_with_each_schedule(flow: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is selected fits the pipeline; what it cannot have is a warning."""
    monkeypatch.setattr(flow.models, "schedulers", cache(flow.models.schedulers))
    text, image = (find(flow.models, "flow") for find in (text_target, image_target))
    warned = set()
    for label, schedule in product(LABELS, (None, *(each["label"] for each in list_schedules()))):
        cases = [(text, label, schedule)]
        if schedule is not None and not is_default(schedule):
            cases.append((image, f"{label} {schedule}", None))
        for target, name, field in cases:
            found = sampling_of(flow.models, target, name, field)
            warned |= {(name, field)} if found.warnings else set()

            assert found.choice is None or accepted(flow, target, found.choice)

    assert {("DPM++ 2M", "Karras"), ("DPM++ 2M Karras", None)} <= warned
    assert not {("DPM++ 2M", None), ("DPM++ 2M", "Automatic"), ("Euler", "Karras"), ("Euler Karras", None)} & warned


@pytest.mark.parametrize("name", ["DPM++ 2M", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE"])
@pytest.mark.parametrize("schedule", [None, "Automatic"])
async def test_the_schedule_that_the_web_ui_prefers(flow: Server, name: str, schedule: str | None) -> None:
    """A sampler keeps its solver, and has the noise levels of the model instead."""
    request, warnings = await sent(flow, prompt="x", sampler_name=name, scheduler=schedule, override_settings=FLOW)

    assert SchedulerChoice(name) == request.scheduler
    assert [] == warnings


async def test_a_requested_schedule(flow: Server) -> None:
    """It is a warning, by whichever field; the sampler is the one that was requested."""
    body: dict[str, Any] = {"prompt": "x", "override_settings": FLOW}
    field, warnings = await sent(flow, **body, sampler_name="DPM++ 2M", scheduler="Karras")
    named, notes = await sent(flow, **body, sampler_name="DPM++ 2M Karras")
    own, quiet = await sent(flow, "img2img", **body, init_images=[IMAGE], sampler_name="k_euler", scheduler="Karras")

    assert field.scheduler is not None
    assert named.scheduler is not None
    assert ("DPM++ 2M", "dpmpp_2m") == (field.scheduler.name, named.scheduler.name)
    assert {} == field.scheduler.settings == named.scheduler.settings
    assert [each.partition(" has no effect: ")[0] for each in (*warnings, *notes)] == [
        "'scheduler' 'Karras'",
        "The schedule in 'sampler_name' 'DPM++ 2M Karras'",
    ]
    assert SchedulerChoice("euler_flowmatch", {"schedule": "Karras"}) == own.scheduler
    assert [] == quiet
