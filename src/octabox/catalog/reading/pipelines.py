"""Read every pipeline of a package from its source."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from octabox.catalog.entries import Component, Parameter, PipelineEntry, ProgressBy
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.reading.checks.choices import with_choices
from octabox.catalog.reading.checks.groups import required_groups
from octabox.catalog.reading.checks.sizes import size_rules
from octabox.catalog.reading.docstrings import first_sentence
from octabox.catalog.reading.modular.blocks import (
    block_components,
    block_outputs,
    block_parameters,
    default_blocks,
    workflow_names,
)
from octabox.catalog.reading.outputs import output_fields, primary_kind
from octabox.catalog.reading.packages import DependencyReader
from octabox.catalog.reading.parameters import call_parameters
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function
from octabox.catalog.reading.tables import read_families
from octabox.catalog.tasks import derive_tasks, family_stem, normalize_name, order_tasks, tag_of, vocabulary
from octabox.types import Kind

PIPELINE, MODULAR = "DiffusionPipeline", "ModularPipeline"

#: What a call looks up in a scheduler's configuration before it hands it noise levels.
FLOW_FORM = "use_flow_sigmas"

#: Marks a class that diffusers keeps only for old callers.
DEPRECATED = re.compile(r"(^|\.)deprecated(\.|$)|Deprecated\w*Mixin$")

#: A parameter that lets a pipeline choose the size itself.
BINNING = re.compile(r"^use_\w*binning$")


def read_pipelines(tree: SourceTree, packages: DependencyReader) -> tuple[PipelineEntry, ...]:
    """Return an entry for each class that can be called, by name."""
    listed = _listed(tree)
    found = (_pipeline(tree, owner, packages) for owner in tree.subclasses(PIPELINE) if owner.name != PIPELINE)
    classic = [_with_purpose(entry, listed.get(entry.name, ())) for entry in found]
    usual = _usual(parameter for entry in classic for parameter in entry.parameters)
    modular = [_modular(tree, owner, usual, packages) for owner in tree.subclasses(MODULAR) if owner.name != MODULAR]
    entries = sorted([*classic, *modular], key=lambda entry: entry.name)
    stems = {family_stem(entry.name): entry for entry in classic if not entry.media(required=True)}
    return tuple(replace(entry, family=_family(entry, stems)) for entry in entries)


def _pipeline(tree: SourceTree, owner: ClassSource, packages: DependencyReader) -> PipelineEntry:
    calls = _calls(tree, owner)
    taken = {each.name: each for _, call in reversed(calls) for each in call_parameters(tree, owner, call)}
    own = [each.name for _, call in calls for each in call_parameters(tree, owner, call)]
    parameters = with_choices(tree, owner, (taken[name] for name in dict.fromkeys(own)))
    outputs = next((found for each in calls if (found := output_fields(tree, *each))), ())
    return PipelineEntry(
        name=owner.name,
        module=owner.module,
        package=tree.package,
        parameters=parameters,
        one_of=required_groups(tree, owner, parameters),
        components=_components(tree, owner),
        outputs=outputs,
        deprecated=_is_deprecated(tree, owner),
        swallows_kwargs=bool(calls and calls[-1][1].args.kwarg),
        progress=_progress(tree, owner, parameters),
        single_file=_loads_files(tree, owner),
        needs=packages.needs(owner),
        sizes=size_rules(tree, owner, parameters),
        binning=any(BINNING.search(parameter.name) for parameter in parameters),
        batches=_batches(parameters),
        sigmas=any(_hands_sigmas(call) for _, call in calls),
        description=first_sentence(owner.doc),
    )


def _loads_files(tree: SourceTree, owner: ClassSource) -> bool:
    """Return whether a class loads a single file: as those of diffusers do, or in a way of its own."""
    mixed_in = any(ancestor.name == "FromSingleFileMixin" for ancestor in tree.lineage(owner))
    return mixed_in or tree.function(owner, "from_single_file") is not None


def _hands_sigmas(call: Function) -> bool:
    """Return whether a call always makes noise levels for its scheduler, and does not ask whether that wants any."""
    if any(FLOW_FORM in (getattr(node, "attr", ""), getattr(node, "value", "")) for node in ast.walk(call)):
        return False
    assigned = (each for line in call.body if isinstance(line, ast.Assign) for each in line.targets)
    return any(isinstance(each, ast.Name) and each.id == "sigmas" for each in assigned)


def _calls(tree: SourceTree, owner: ClassSource) -> list[tuple[ClassSource, Function]]:
    """Return a class's call, and those of its ancestors to which it hands on whatever else it is given."""
    found: list[tuple[ClassSource, Function]] = []
    for ancestor in tree.lineage(owner):
        call = ancestor.functions.get("__call__")
        if call is not None:
            found.append((ancestor, call))
            if not (call.args.kwarg and _hands_on(call)):
                break
    return found


def _hands_on(call: Function) -> bool:
    """Return whether a call calls that of its base."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "__call__"
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
        for node in ast.walk(call)
    )


def _modular(
    tree: SourceTree, owner: ClassSource, usual: Mapping[str, Parameter], packages: DependencyReader
) -> PipelineEntry:
    blocks = default_blocks(tree, owner)
    parameters = block_parameters(tree, blocks, usual) if blocks else ()
    entry = PipelineEntry(
        name=owner.name,
        module=owner.module,
        package=tree.package,
        modular=True,
        parameters=parameters,
        components=block_components(tree, blocks) if blocks else (),
        outputs=block_outputs(tree, blocks) if blocks else (),
        deprecated=_is_deprecated(tree, owner),
        progress="progress_bar",
        # Which blocks run, a request decides: what one of them needs, others do without.
        needs=tuple(replace(each, certain=False) for each in packages.needs(owner, blocks)),
        description=first_sentence(blocks.doc if blocks else owner.doc),
    )
    entry = _with_purpose(entry)
    able = [tag_of(name) for name in workflow_names(tree, blocks)] if blocks else []
    return replace(entry, tasks=tuple(dict.fromkeys(tag for tag in able if tag)) or entry.tasks)


def _with_purpose(entry: PipelineEntry, listed: Iterable[str] = ()) -> PipelineEntry:
    """Return the entry with its output kind and its tasks: by the rules, or, as its progress too, as the data file says."""
    said = vocabulary().exceptions.get(entry.name, {})
    kind: Kind | None = said.get("output", primary_kind(entry.outputs))
    entry = replace(entry, output_kind=kind, progress=said.get("progress", entry.progress))
    return replace(entry, tasks=tuple(said.get("tasks", ())) or order_tasks(entry, derive_tasks(entry), listed))


def _components(tree: SourceTree, owner: ClassSource) -> tuple[Component, ...]:
    """Return what a pipeline's constructor takes, without plain settings such as flags, numbers and lists of them."""
    located = tree.function(owner, "__init__")
    if located is None or located[0].name == PIPELINE:
        return ()
    optional = tree.value(owner, "_optional_components")
    names = set(optional) if isinstance(optional, list | tuple) else set()
    found = call_parameters(tree, owner, located[1])
    settings = {"boolean", "integer", "number", "text", "mapping"}
    return tuple(
        Component(
            part.name,
            part.annotation,
            part.name in names or (not part.required and part.literal and part.default is None),
        )
        for part in found
        if part.kind not in settings and not _is_plain_list(part.annotation)
    )


def _is_plain_list(annotation: str) -> bool:
    """Return whether an annotation is that of a list, and of no class that might be in it."""
    shape = parse_annotation(annotation)
    return shape.items is not None and not shape.atoms and not any(name[:1].isupper() for name in shape.leaves)


def _is_deprecated(tree: SourceTree, owner: ClassSource) -> bool:
    return any(DEPRECATED.search(name) for name in (owner.module, *(each.name for each in tree.lineage(owner))))


def _progress(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> ProgressBy:
    names = {parameter.name for parameter in parameters}
    if "callback_on_step_end" in names:
        return "callback_on_step_end"
    if "callback" in names:
        return "callback"
    own = [ancestor for ancestor in tree.lineage(owner) if ancestor.name != PIPELINE]
    return "progress_bar" if any("progress_bar" in ancestor.mentions for ancestor in own) else "denoiser"


def _batches(parameters: Iterable[Parameter]) -> bool:
    """Return whether a call takes a list of prompts (if it takes any) and a list of generators."""
    known = {parameter.name: parameter for parameter in parameters}
    generator, prompt = known.get("generator"), known.get("prompt")
    return bool(generator and generator.many and (prompt is None or prompt.many))


def _listed(tree: SourceTree) -> dict[str, list[str]]:
    """Return the tasks for which diffusers' own tables name each class."""
    found: dict[str, list[str]] = {}
    for members in read_families(tree).values():
        for task, name in members.items():
            found.setdefault(name, []).append(task)
    return found


def _usual(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Return, for each name, the parameter as most classes have it."""
    counts: dict[str, Counter[tuple[str, bool]]] = {}
    first: dict[tuple[str, str, bool], Parameter] = {}
    for parameter in parameters:
        counts.setdefault(parameter.name, Counter())[parameter.kind, parameter.many] += 1
        first.setdefault((parameter.name, parameter.kind, parameter.many), parameter)
    keys = {name: (name, *count.most_common(1)[0][0]) for name, count in counts.items()}
    return {name: first[key] for name, key in keys.items()}


def _family(entry: PipelineEntry, stems: Mapping[str, PipelineEntry]) -> str:
    """Return the longest name that this class's name begins with and that is a class which needs no file.

    A number that follows such a name makes another family. Where there is no such class, the folder may have the name.
    """
    words = family_stem(entry.name).split("-")
    for length in range(len(words), 0, -1):
        root = stems.get("-".join(words[:length]))
        is_other = length < len(words) and words[length].isdigit()
        if root and not is_other and (entry.deprecated or not root.deprecated):
            return family_stem(root.name)
    folder = entry.module.rpartition(".")[0].rpartition(".")[2].replace("_", "-")
    return folder if folder and normalize_name("-".join(words)).startswith(normalize_name(folder)) else "-".join(words)
