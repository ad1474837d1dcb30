"""Generate docs/reference/pipelines.md: a row per pipeline class of the installed diffusers, from the catalog.

Run it as `make docs`. The makers of tiny pipelines in tests/makers determine whether a test serves a class.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import yaml

from accelerator.table import RANKS, Reason, Table, counts, rank, read_reasons, read_table, reason_of
from octabox.catalog.dependencies import dependencies_of
from octabox.catalog.entries import MEDIA, Parameter, PipelineEntry
from octabox.catalog.pipelines import PACKAGE, Catalog, load_catalog
from octabox.catalog.plugins import FOLDER_VARIABLE
from octabox.catalog.reading.packages import known_packages
from pipelines.batching import NO_LISTS, PROVED, read_verdicts

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "pipelines.md"

#: Classes of which no tiny pipeline can be built, with the reasons.
IMPOSSIBLE = ROOT / "tests" / "makers" / "impossible.yaml"

#: How a call is cancelled, as the page names it.
STOPS = {
    "callback_on_step_end": "step callback",
    "callback": "old callback",
    "progress_bar": "progress bar",
    "denoiser": "forward pass",
}

HEAD = """# Pipelines

All pipeline classes of **diffusers {version}**, generated from its source by `make docs`; `octabox pipelines NAME` describes
one. There are {classic} pipelines and {modular} modular ones (marked *m*). {deprecated} are deprecated in diffusers (marked
*d*). Tests serve {tested} of them from tiny models over HTTP.

- **inputs**: prompts and files; `?` marks optional ones.
- **progress**: where a call reports progress and checks for cancellation.
- **batch**: whether requests share a call, by the probe of a tiny model ([Batches](#batches)); `?` where the call accepts
  lists of prompts and generators and was not probed.
- **needs**: packages that diffusers uses and does not depend on; `?` marks those for some settings only. Octabox depends on
  ftfy, scipy, sentencepiece and torchsde; `octabox[full]` installs all others except {apart}.

| class | tasks | inputs | output | progress | batch | needs | tested |
|---|---|---|---|---|---|---|---|
"""


BATCHES = """
## Batches

Requests share a call of the pipeline where a probe has shown that each gets the output that it gets alone
([Performance](performance.md#batches)). `python tests/pipelines/batching.py` probes tiny models with random weights; a server
probes the loaded model itself. Of {count} classes, **{proved}** are proved, and {lists} take no lists of prompts and
generators.
"""


def page(
    catalog: Catalog,
    version: str,
    tested: Collection[str],
    impossible: Mapping[str, str],
    verdicts: Mapping[str, str] | None = None,
) -> str:
    """Return the page.

    Args:
        catalog: The pipelines.
        version: Version of diffusers.
        tested: Names of the classes that a test serves.
        impossible: Reasons why no test can serve a class, by name.
        verdicts: Verdicts about batches, by class.
    """
    verdicts = verdicts or {}
    entries = list(catalog.pipelines.values())
    head = HEAD.format(
        version=version,
        classic=sum(not entry.modular for entry in entries),
        modular=sum(entry.modular for entry in entries),
        deprecated=sum(entry.deprecated for entry in entries),
        tested=sum(entry.name in tested for entry in entries),
        apart=", ".join(known_packages()["apart"]),
    )
    rows = [
        row(entry, "yes" if entry.name in tested else "cannot" if entry.name in impossible else "", verdicts)
        for entry in entries
    ]
    reasons = [f"- `{name}`: {' '.join(reason.split())}" for name, reason in sorted(impossible.items())]
    foot = "\nClasses that cannot be tested in this way:\n\n" + "\n".join(reasons) + "\n" if reasons else ""
    return head + "\n".join(rows) + "\n" + foot


def batch(entry: PipelineEntry, verdict: str | None) -> str:
    """Return the cell of a class for batches."""
    if not entry.batches:
        return ""
    return "?" if verdict is None else "yes" if verdict == PROVED else "no"


def on_batches(verdicts: Mapping[str, str]) -> str:
    """Return the section on batches, from the table of the tests."""
    if not verdicts:
        return ""
    reasons: dict[str, list[str]] = {}
    for name, verdict in sorted(verdicts.items()):
        if verdict not in (PROVED, NO_LISTS):
            reasons.setdefault(verdict.replace(name, "the class"), []).append(name)
    counts = Counter(verdicts.values())
    head = BATCHES.format(count=len(verdicts), proved=counts[PROVED], lists=counts[NO_LISTS])
    lines = [f"- {reason}: {', '.join(f'`{name}`' for name in names)}" for reason, names in sorted(reasons.items())]
    return head + ("\nThe others run singly:\n\n" + "\n".join(lines) + "\n" if lines else "")


def row(entry: PipelineEntry, tested: str, verdicts: Mapping[str, str]) -> str:
    """Return the row of a class."""
    marks = [mark for mark, holds in (("*m*", entry.modular), ("*d*", entry.deprecated)) if holds]
    needs = [f"{need.name}{'' if need.certain else '?'}" for need in dependencies_of(entry)]
    cells = (
        " ".join([f"`{entry.name}`", *marks]),
        ", ".join(entry.tasks),
        ", ".join(takes(entry)),
        ", ".join(dict.fromkeys(field.kind for field in entry.outputs if field.kind)) or entry.output_kind or "",
        STOPS[entry.progress],
        batch(entry, verdicts.get(entry.name)),
        ", ".join(needs),
        tested,
    )
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def takes(entry: PipelineEntry) -> list[str]:
    """Return the prompts and files that a call accepts, also in objects, each kind once."""
    found: dict[str, bool] = {}
    for parameter in entry.parameters:
        is_words = parameter.kind == "text" and (parameter.required or parameter.name == "prompt")
        if is_words or parameter.kind in MEDIA:
            needed = parameter.required or is_required_input(entry, parameter)
            found[parameter.kind] = found.get(parameter.kind, False) or needed
        for field in parameter.fields:
            if field.kind in MEDIA:
                found.setdefault(field.kind, False)
    return [kind if required else f"{kind}?" for kind, required in found.items()]


def is_required_input(entry: PipelineEntry, parameter: Parameter) -> bool:
    """Return whether the only alternatives to a parameter are arrays."""
    groups = [group for group in entry.one_of if parameter.name in group]
    others = [entry.parameter(name) for group in groups for name in group if name != parameter.name]
    return bool(groups) and all(other is not None and other.kind == "array" for other in others)


ACCELERATOR = """
## On an accelerator

`python tests/accelerator/table.py` runs tiny models of these classes on a simulated accelerator, which refuses what CUDA
refuses (see `tests/accelerator`): in float32, in the dtype that `auto` selects, and in float32 in each memory mode.
In float32 the results equal those of a processor. **{good} of {pairs}** pairs of class and mode run.

| mode | works | falls back, with a warning | does not run | of these due to diffusers or the device |
|---|---|---|---|---|
"""


def on_accelerator(table: Table, reasons: list[Reason]) -> str:
    """Return the section on the simulated accelerator, from the table of the tests."""
    if not table:
        return ""
    found = counts(table, reasons)
    good = sum(count["works"] + count["falls back"] for count in found.values())
    rows = []
    for mode, count in found.items():
        bad = sum(count[kind] for kind in RANKS[2:])
        rows.append(f"| `{mode}` | {count['works']} | {count['falls back']} | {bad} | {count['excused']} |")
    groups: dict[str, dict[str, list[str]]] = {}
    for name, outcomes in sorted(table.items()):
        for mode, outcome in outcomes.items():
            if rank(outcome):
                why = reason_of(name, outcome, reasons)
                words = f"{why.text} ({why.whose})" if why else outcome.replace(name, "the class")
                groups.setdefault(words, {}).setdefault(mode, []).append(name)
    lines = [f"- {words}" + "".join(_classes(modes)) for words, modes in sorted(groups.items())]
    head = ACCELERATOR.format(good=good, pairs=sum(len(outcomes) for outcomes in table.values()))
    return head + "\n".join(rows) + "\n" + ("\nExceptions:\n\n" + "\n".join(lines) + "\n" if lines else "")


def _classes(modes: Mapping[str, list[str]]) -> list[str]:
    return [f"\n    - `{mode}`: {', '.join(f'`{name}`' for name in names)}" for mode, names in modes.items()]


def generated() -> str:
    """Return the page for the installed packages."""
    import makers  # noqa: PLC0415 (it needs torch, and the tests' folder on the path)

    os.environ[FOLDER_VARIABLE] = ""
    impossible = yaml.safe_load(IMPOSSIBLE.read_text(encoding="utf-8")) if IMPOSSIBLE.exists() else {}
    facts = load_catalog().metadata
    # Pipelines of plugins, Octabox's included, are not part of diffusers.
    theirs = tuple(entry for entry in facts.pipelines if entry.package == PACKAGE)
    written = page(
        Catalog(replace(facts, pipelines=theirs)),
        metadata.version("diffusers"),
        makers.pipelines().keys(),
        impossible or {},
        verdicts := read_verdicts(),
    )
    return written + on_batches(verdicts) + on_accelerator(read_table(), read_reasons())


if __name__ == "__main__":
    PAGE.write_text(generated(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
