"""Samplers and schedules by the names of the web UI."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from octabox.catalog.dependencies import is_installed
from octabox.catalog.pipelines import Catalog
from octabox.errors import OctaboxError
from octabox.schedulers.names import SchedulerAlias, resolve_scheduler, scheduler_aliases, schedules
from octabox.types import SchedulerChoice

#: Names of the samplers of the web UI and its forks, in its order; those that diffusers lacks are left out of the list.
LABELS = (
    "DPM++ 2M",
    "DPM++ SDE",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun",
    "DPM++ 2S a",
    "DPM++ 3M SDE",
    "Euler a",
    "Euler",
    "LMS",
    "Heun",
    "DPM2",
    "DPM2 a",
    "DDIM",
    "PLMS",
    "UniPC",
    "LCM",
    "DDPM",
    "DEIS",
    "IPNDM",
    "TCD",
    "SA Solver",
)

#: Names of the schedules of the web UI, by ours; others have their name with a capital letter.
SCHEDULE_LABELS = {"sgm_uniform": "SGM Uniform", "ddim": "DDIM", "align_your_steps": "Align Your Steps"}

#: The schedule that the web UI selects by the sampler.
AUTOMATIC = "automatic"

#: Values of a field for the default of the model, or for the sampler and the schedule of the first pass.
DEFAULTS = frozenset({"", "none", "default", "automatic", "use same sampler", "use same scheduler"})

#: Prefix of the web UI's aliases of samplers, which has no meaning there.
PREFIX = "k_"


def is_default(name: str | None) -> bool:
    """Return whether a field names no sampler or schedule, but that of the model or of the sampler."""
    return name is None or name.strip().casefold() in DEFAULTS


def without_prefix(name: str) -> str:
    """Return the name of a sampler without the prefix of aliases."""
    text = name.strip()
    return text[len(PREFIX) :] if text.casefold().startswith(PREFIX) else text


def schedule_label(name: str) -> str:
    """Return the name of a schedule in the web UI."""
    return SCHEDULE_LABELS.get(name, name.replace("_", " ").capitalize())


def _settings_of(name: str, known: Collection[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the class of a sampler and the settings of its name, without those of a schedule; None if it is unknown."""
    try:
        resolved = resolve_scheduler(without_prefix(name), {}, known)
    except OctaboxError:
        return None
    of_schedule = resolved.schedule.settings if resolved.schedule else {}
    return resolved.kind, {key: value for key, value in resolved.settings.items() if key not in of_schedule}


def label_of(name: str, known: Collection[str]) -> str:
    """Return the name in the web UI of a sampler: of the same class and settings, else of the same class; or the name itself.

    Args:
        name: Any name of the sampler, or its class.
        known: The available classes.
    """
    found = _settings_of(name, known)
    if found is None:
        return name
    rows = [(label, _settings_of(label, known)) for label in LABELS]
    for exact in (True, False):
        for label, row in rows:
            if row is not None and (row == found if exact else row[0] == found[0]):
                return label
    # A model of flow matching has the solver of the same name in another class.
    for alias in scheduler_aliases():
        if alias.kind == found[0] and (twin := _plain_twin(alias)):
            return twin
    return name


def _plain_twin(alias: SchedulerAlias) -> str | None:
    """Return the sampler of which another one is the form for flow matching."""
    for name in (alias.name, *alias.aliases):
        bare = name.removesuffix(FLOW_SUFFIX)
        label = next((each for each in LABELS if each.casefold() == bare), None)
        if bare != name and label:
            return label
    return None


#: Suffix of the names of samplers for models that were trained by flow matching.
FLOW_SUFFIX = "_flowmatch"


def flow_twin(name: str, known: Collection[str]) -> str | None:
    """Return the form of a sampler for models that were trained by flow matching; None if there is none."""
    twin = f"{without_prefix(name)}{FLOW_SUFFIX}"
    return twin if _settings_of(twin, known) else None


def list_samplers(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the samplers of the web UI that diffusers has, with those that need a missing package left out."""
    rows = []
    aliases = {name: alias for alias in scheduler_aliases() for name in (alias.name, *alias.aliases)}
    for label in LABELS:
        found = _settings_of(label, catalog.schedulers)
        if found is None:
            continue
        if not all(is_installed(need.module) for need in catalog.schedulers[found[0]].needs if need.certain):
            continue
        key = label.lower().replace("++", "pp").replace(" ", "_")
        alias = aliases.get(key)
        names = (
            [f"{PREFIX}{each}" for each in (alias.name, *alias.aliases) if not each.startswith(PREFIX)] if alias else []
        )
        options = {"scheduler": alias.automatic} if alias and alias.automatic else {}
        rows.append({"name": label, "aliases": names, "options": options})
    return rows


def list_schedules() -> list[dict[str, Any]]:
    """Return the schedules."""
    rows = [(AUTOMATIC, ()), *((each.name, each.aliases) for each in schedules().values())]
    return [
        {
            "name": name,
            "label": schedule_label(name),
            "aliases": list(aliases) or None,
            "default_rho": -1.0,
            "need_inner_model": False,
        }
        for name, aliases in rows
    ]


def choice_of(name: str, schedule: str | None, known: Collection[str]) -> SchedulerChoice:
    """Return a sampler with its schedule: that of the request, that at the end of the name, or the sampler's own.

    Raises:
        SchedulerNotFoundError: There is no such sampler.
        InvalidParameterError: There is no such schedule.
    """
    bare = without_prefix(name)
    resolved = resolve_scheduler(bare, {}, known)
    if schedule is None or is_default(schedule):
        return SchedulerChoice(bare) if resolved.schedule else SchedulerChoice(bare, {"schedule": AUTOMATIC})
    resolve_scheduler(bare, {"schedule": schedule}, known)
    return SchedulerChoice(bare, {"schedule": schedule})
