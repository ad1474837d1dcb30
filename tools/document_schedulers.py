"""Generate docs/reference/schedulers.md: every name of a noise scheduler, every schedule, and every class of diffusers.

Run it as `make docs`. The names come from src/octabox/schedulers/schedulers.yaml, everything else from the catalog. Which
classes fit is determined for four types of training, by the rule that validates requests.
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

#: Types of training, by their names on the page, with the scheduler configurations of such models.
KINDS = {
    "noise": ModelTraits("DDIMScheduler", {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}),
    "velocity": ModelTraits("DDIMScheduler", {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}),
    "flow": ModelTraits("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "EDM": ModelTraits(
        "EDMEulerScheduler", {"sigma_data": 0.5, "sigma_schedule": "karras", "prediction_type": "epsilon"}
    ),
}

HEAD = """# Noise schedulers

A request selects a noise scheduler by name, or by name with settings of its constructor or its steps:
`"scheduler": "dpmpp_2m"`, `"scheduler": {{"name": "dpmpp_2m", "use_karras_sigmas": true}}`, or
`"scheduler": {{"name": "euler", "s_churn": 10}}`. A model's configuration can set one too, which is then
the recommended one of the model. The scheduler is always built from the model's original configuration. A scheduler that
is not compatible is an error with the reason; it is never replaced by another one.

`octabox schedulers NAME` and `GET /v1/catalog/schedulers/NAME` show all settings of a scheduler, before any model is
loaded; with `--model M` or `?model=M`, whether it fits the model. `make docs` generates this page for
**diffusers {version}**.

Names ignore letter case, spaces, dashes and underscores, and `++` means `pp`: `DPM++ 2M` is `dpmpp_2m`. The name of a
class is accepted too, with or without the suffix `Scheduler`. A schedule can follow any name (`DPM++ 2M Karras`,
`euler_exponential`), or be the setting `schedule`; the prefix {prefix} means Karras.

## Names

The schedule *automatic* is the one that the web UI uses for a name by default; here it must be requested with
`automatic`.

| name | other names | class | settings | automatic |
|---|---|---|---|---|
"""

SCHEDULES = """
## Schedules

A schedule is the distribution of noise levels over the steps. With few steps, `beta` has large steps at the end:
`sa_solver` and third-order solvers that add noise need about 30 steps with it. `align_your_steps` interpolates its
timesteps for other numbers of steps.

Solvers of a higher order, such as `plms`, `heun` and `dpm_2`, diverge in few steps with a large guidance scale: shapes and
colours are wrong. Each combination is tried with a distribution that is known, and the response has a warning with a number
of steps that is enough.

| schedule | other names | settings |
|---|---|---|
"""

CLASSES = """
## Classes

The column *fits* has the types of models that a class is compatible with, derived from configurations: models that
predict the **noise**, models that predict the **velocity** (`v_prediction`), **flow** matching models, and **EDM**
models. A solver with a variant for flow matching uses it, with the model's own shift. A variant that ends before the
noise is removed, since it has no `final_sigmas_type`, is refused (DEIS and SASolver leave 13 % of the noise after 20
steps of shift 3). Other settings of a model's configuration (`use_dynamic_shifting`, `rescale_betas_zero_snr` ...) can
exclude more classes. Packages marked *always* are always required, the others for some settings.

| class | fits | schedules | needs |
|---|---|---|---|
"""

UNREAD = """
Settings that the constructors accept and diffusers does not use; a request that sets one has a warning:

"""

ABSENT = """
## Names without equivalent

Other programs have these schedulers, diffusers does not; they are refused:

"""


def page(catalog: Catalog, version: str) -> str:
    """Return the page for a catalog of a version of diffusers."""
    prefix = ", ".join(f"`{each}`" for each in load_table()["prefix"])
    parts = [HEAD.format(version=version, prefix=prefix)]
    parts += [_row(_name_cells(each)) for each in (vars(named) for named in scheduler_aliases())]
    caveat = [f"`{named.name}`: {named.caveat}" for named in scheduler_aliases() if named.caveat]
    if caveat:
        parts += [
            "\nNames with a different behaviour in other programs; each response has a warning:\n\n",
            _listed(caveat),
        ]
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
    parts.append(f"\nand the schedules {_words(load_table()['no_schedule'])}.\n")
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
    """Return the page for the installed packages."""
    os.environ[FOLDER_VARIABLE] = ""
    return page(load_catalog(), metadata.version("diffusers"))


if __name__ == "__main__":
    PAGE.write_text(generated(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
