"""Write docs/reference/schedulers.md: every name of a noise scheduler, every schedule, and every class of diffusers.

Run it as `make docs`. The names come from src/octabox/schedulers/schedulers.yaml, all else from the catalog; which classes
fit is told for four ways of training, by the rule that requests are checked with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from octabox.catalog.entries import SchedulerEntry
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.plugins import FOLDER_VARIABLE
from octabox.schedulers.compatibility import ModelTraits, incompatibility
from octabox.schedulers.listing import supported_schedules
from octabox.schedulers.names import load_table, scheduler_aliases, schedules

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "schedulers.md"

#: Ways of training, by the words of the page: configurations of schedulers that models of each kind come with.
KINDS = {
    "noise": ModelTraits("DDIMScheduler", {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}),
    "velocity": ModelTraits("DDIMScheduler", {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}),
    "flow": ModelTraits("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "EDM": ModelTraits(
        "EDMEulerScheduler", {"sigma_data": 0.5, "sigma_schedule": "karras", "prediction_type": "epsilon"}
    ),
}

HEAD = """# Noise schedulers

A request chooses one by its name, or with settings of its constructor: `"scheduler": "dpmpp_2m"`, or
`"scheduler": {{"name": "dpmpp_2m", "use_karras_sigmas": true}}`. So does a model's configuration, where it is the one
that is recommended for the model. It is always built anew from the configuration that the model came with. What cannot
be honoured is an error that says why, and no other scheduler is taken in its place.

`octabox schedulers NAME` and `GET /v1/catalog/schedulers/NAME` show every setting of one, before any model is loaded;
with `--model M` or `?model=M`, whether it fits the model. This page is written by `make docs` for
**diffusers {version}**.

Names are read without regard to letter case, blanks, dashes and underscores, with `++` as `pp`: `DPM++ 2M` is
`dpmpp_2m`. A class goes by its own name too, with or without `Scheduler` at its end. A schedule may stand behind any
name (`DPM++ 2M Karras`, `euler_exponential`), or be the setting `schedule`; {prefix} stands before a name for Karras.

## Names

The schedule *automatic* is the one that the web UI takes for a name where none is chosen; only the word `automatic`
asks for it here.

| name | other names | class | settings | automatic |
|---|---|---|---|---|
"""

SCHEDULES = """
## Schedules

How the noise levels of the steps are spread. With few steps `beta` makes large ones at the end: `sa_solver` and solvers
of third order that add noise need some 30 steps with it. For another number of steps than it has, `align_your_steps`
takes timesteps in between.

| schedule | other names | settings |
|---|---|---|
"""

CLASSES = """
## Classes

Which of them fit, told from configurations, for four kinds of models: those that predict the **noise**, those that
predict the **velocity** (`v_prediction`), those that match **flows**, and those of **EDM**. A solver that has a form
for flows is put into it, with the model's own shift; one whose form ends before the noise is gone, since it has no
`final_sigmas_type`, is refused (DEIS and SASolver leave 13 % of the noise after 20 steps of shift 3). What a model's
configuration asks for beside that (`use_dynamic_shifting`, `rescale_betas_zero_snr` ...) can rule out more. Packages
marked *always* are needed always, the others for some settings.

| class | fits | schedules | needs |
|---|---|---|---|
"""

UNREAD = """
Taken by their constructors, and read by nothing in diffusers; a request that sets one has a warning:

"""

ABSENT = """
## Names without equivalent

Other programs have them, diffusers has not, and they are refused:

"""


def page(catalog: Catalog, version: str) -> str:
    """Return the page for a catalog of a version of diffusers."""
    prefix = ", ".join(f"`{each}`" for each in load_table()["prefix"])
    parts = [HEAD.format(version=version, prefix=prefix)]
    parts += [_row(_name_cells(each)) for each in (vars(named) for named in scheduler_aliases())]
    caveat = [f"`{named.name}`: {named.caveat}" for named in scheduler_aliases() if named.caveat]
    if caveat:
        parts += ["\nNot quite as their names say, of which each answer has a warning:\n\n", _listed(caveat)]
    parts.append(SCHEDULES)
    for schedule in schedules().values():
        steps = [f"{len(each)} timesteps for {family}" for family, each in schedule.timesteps.items()]
        cells = [f"`{schedule.name}`", _words(schedule.aliases), _settings(schedule.settings) or "; ".join(steps)]
        parts.append(_row(cells))
    parts.append(CLASSES)
    parts += [_row(_class_cells(entry, catalog)) for entry in catalog.schedulers.values()]
    unread = [f"`{each.name}`: {_words(each.unread)}" for each in catalog.schedulers.values() if each.unread]
    parts += [UNREAD, _listed(unread)]
    absent = load_table()["unavailable"].items()
    parts += [ABSENT, _listed(f"`{name}`{f': {reason}' if reason else ''}" for name, reason in absent)]
    parts.append(f"\nand of schedules {_words(load_table()['no_schedule'])}.\n")
    return "".join(parts)


def _name_cells(named: Mapping[str, Any]) -> list[str]:
    """Return the row of a name."""
    return [
        f"`{named['name']}`",
        _words(named["aliases"]),
        f"`{named['kind']}`",
        _settings(named["settings"]),
        named["automatic"] or "",
    ]


def _class_cells(entry: SchedulerEntry, catalog: Catalog) -> list[str]:
    """Return the row of a class."""
    pipelines = catalog.pipelines.values()
    fits = [kind for kind, subject in KINDS.items() if not incompatibility(entry, subject, {}, pipelines)]
    needs = [f"{need.name}{' (always)' if need.certain else ''}" for need in entry.needs]
    return [f"`{entry.name}`", ", ".join(fits), ", ".join(supported_schedules(entry)), ", ".join(needs)]


def _settings(settings: Mapping[str, Any]) -> str:
    """Return settings in one cell."""
    return ", ".join(
        f"`{name}: {str(value).lower() if isinstance(value, bool) else value}`" for name, value in settings.items()
    )


def _words(words: Any) -> str:
    """Return names in one cell."""
    return ", ".join(f"`{word}`" for word in words)


def _listed(lines: Any) -> str:
    """Return lines as a list."""
    return "".join(f"- {line}\n" for line in lines)


def _row(cells: list[str]) -> str:
    """Return cells as a row of a table."""
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|\n"


def generated() -> str:
    """Return the page for what is installed."""
    os.environ[FOLDER_VARIABLE] = ""
    return page(load_catalog(), metadata.version("diffusers"))


if __name__ == "__main__":
    PAGE.write_text(generated(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
