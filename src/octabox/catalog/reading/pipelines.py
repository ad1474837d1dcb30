"""Read the pipeline classes of a package from its source."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from octabox.catalog.entries import Component, Parameter, PipelineEntry, ProgressBy
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.reading.calls.examples import example_frame_rate
from octabox.catalog.reading.checks.attributes import constructor_attributes
from octabox.catalog.reading.checks.choices import with_choices
from octabox.catalog.reading.checks.groups import required_groups
from octabox.catalog.reading.checks.handover import output_types, takes_latents
from octabox.catalog.reading.checks.optional_files import with_optional_files
from octabox.catalog.reading.checks.ranges import with_ranges
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

#: Scheduler setting that a call checks before it passes sigmas.
FLOW_FORM = "use_flow_sigmas"

#: Modules and base classes of deprecated pipelines.
DEPRECATED = re.compile(r"(^|\.)deprecated(\.|$)|Deprecated\w*Mixin$")

#: Parameters that let a pipeline change the requested size.
BINNING = re.compile(r"^use_\w*binning$")


def read_pipelines(tree: SourceTree, packages: DependencyReader) -> tuple[PipelineEntry, ...]:
    """Return the entries of all pipeline classes, sorted by name."""
    listed = _listed(tree)
    found = (_pipeline(tree, owner, packages) for owner in tree.subclasses(PIPELINE) if owner.name != PIPELINE)
    classic = [_with_tasks(entry, listed.get(entry.name, ())) for entry in found]
    common = _common_parameters(parameter for entry in classic for parameter in entry.parameters)
    modular = [_modular(tree, owner, common, packages) for owner in tree.subclasses(MODULAR) if owner.name != MODULAR]
    entries = sorted([*classic, *modular], key=lambda entry: entry.name)
    stems = {family_stem(entry.name): entry for entry in classic if not entry.media(required=True)}
    return _with_frame_rates([replace(entry, family=_family(entry, stems)) for entry in entries])


def _pipeline(tree: SourceTree, owner: ClassSource, packages: DependencyReader) -> PipelineEntry:
    calls = _calls(tree, owner)
    known = {each.name: each for _, call in reversed(calls) for each in call_parameters(tree, owner, call)}
    names = [each.name for _, call in calls for each in call_parameters(tree, owner, call)]
    parameters = with_choices(tree, owner, (known[name] for name in dict.fromkeys(names)))
    parameters = with_optional_files(tree, owner, with_ranges(tree, owner, parameters))
    outputs = next((found for each in calls if (found := output_fields(tree, *each))), ())
    sizes = size_rules(tree, owner, parameters)
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
        sizes=sizes,
        attributes=constructor_attributes(tree, owner, (rule.expression for rule in sizes)),
        binning=any(BINNING.search(parameter.name) for parameter in parameters),
        batches=_batches(parameters),
        sigmas=any(_passes_sigmas(call) for _, call in calls),
        last_layer=next((each.last_layer for each in tree.lineage(owner) if each.last_layer), 0),
        frame_rate=next((rate for each in calls if (rate := example_frame_rate(tree, *each))), None),
        output_types=output_types(tree, owner),
        takes_latents=takes_latents(tree, owner),
        description=first_sentence(owner.doc),
    )


def _loads_files(tree: SourceTree, owner: ClassSource) -> bool:
    """Return whether a class can be loaded from a single file."""
    mixed_in = any(ancestor.name == "FromSingleFileMixin" for ancestor in tree.lineage(owner))
    return mixed_in or tree.function(owner, "from_single_file") is not None


def _passes_sigmas(call: Function) -> bool:
    """Return whether a call always computes sigmas for its scheduler, without a check of its settings."""
    if any(FLOW_FORM in (getattr(node, "attr", ""), getattr(node, "value", "")) for node in ast.walk(call)):
        return False
    assigned = (each for line in call.body if isinstance(line, ast.Assign) for each in line.targets)
    return any(isinstance(each, ast.Name) and each.id == "sigmas" for each in assigned)


def _calls(tree: SourceTree, owner: ClassSource) -> list[tuple[ClassSource, Function]]:
    """Return the call of a class, and the calls of its ancestors to which it passes on keyword arguments."""
    found: list[tuple[ClassSource, Function]] = []
    for ancestor in tree.lineage(owner):
        call = ancestor.functions.get("__call__")
        if call is not None:
            found.append((ancestor, call))
            if not (call.args.kwarg and _calls_super(call)):
                break
    return found


def _calls_super(call: Function) -> bool:
    """Return whether a call calls that of its base class."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "__call__"
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
        for node in ast.walk(call)
    )


def _modular(
    tree: SourceTree, owner: ClassSource, common: Mapping[str, Parameter], packages: DependencyReader
) -> PipelineEntry:
    blocks = default_blocks(tree, owner)
    parameters = block_parameters(tree, blocks, common) if blocks else ()
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
        # The request decides which blocks run, so no package is always needed.
        needs=tuple(replace(each, certain=False) for each in packages.needs(owner, blocks)),
        description=first_sentence(blocks.doc if blocks else owner.doc),
    )
    entry = _with_tasks(entry)
    supported = [tag_of(name) for name in workflow_names(tree, blocks)] if blocks else []
    return replace(entry, tasks=tuple(dict.fromkeys(tag for tag in supported if tag)) or entry.tasks)


def _with_tasks(entry: PipelineEntry, listed: Iterable[str] = ()) -> PipelineEntry:
    """Return the entry with its output kind and tasks: by the rules, or by the exceptions of ``tasks.yaml``."""
    exception = vocabulary().exceptions.get(entry.name, {})
    kind: Kind | None = exception.get("output", primary_kind(entry.outputs))
    entry = replace(entry, output_kind=kind, progress=exception.get("progress", entry.progress))
    return replace(entry, tasks=tuple(exception.get("tasks", ())) or order_tasks(entry, derive_tasks(entry), listed))


def _components(tree: SourceTree, owner: ClassSource) -> tuple[Component, ...]:
    """Return the components in the constructor of a pipeline, without settings such as flags, numbers and lists of them."""
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
            part.name in names or part.required,
        )
        for part in found
        if part.kind not in settings and not _is_value_list(part.annotation)
    )


def _is_value_list(annotation: str) -> bool:
    """Return whether an annotation is a list without classes."""
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
    ancestors = [ancestor for ancestor in tree.lineage(owner) if ancestor.name != PIPELINE]
    return "progress_bar" if any("progress_bar" in ancestor.mentions for ancestor in ancestors) else "denoiser"


def _batches(parameters: Iterable[Parameter]) -> bool:
    """Return whether a call accepts a list of generators and, if it has a prompt, a list of prompts."""
    known = {parameter.name: parameter for parameter in parameters}
    generator, prompt = known.get("generator"), known.get("prompt")
    return bool(generator and generator.many and (prompt is None or prompt.many))


def _listed(tree: SourceTree) -> dict[str, list[str]]:
    """Return the tasks of each class in the auto pipeline mappings of diffusers."""
    found: dict[str, list[str]] = {}
    for members in read_families(tree).values():
        for task, name in members.items():
            found.setdefault(name, []).append(task)
    return found


def _common_parameters(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Return, for each name, the most common parameter of this name."""
    counts: dict[str, Counter[tuple[str, bool]]] = {}
    first: dict[tuple[str, str, bool], Parameter] = {}
    for parameter in parameters:
        counts.setdefault(parameter.name, Counter())[parameter.kind, parameter.many] += 1
        first.setdefault((parameter.name, parameter.kind, parameter.many), parameter)
    keys = {name: (name, *count.most_common(1)[0][0]) for name, count in counts.items()}
    return {name: first[key] for name, key in keys.items()}


def _with_frame_rates(entries: Iterable[PipelineEntry]) -> tuple[PipelineEntry, ...]:
    """Return the entries; a video pipeline without an example, such as a modular one, has the frame rate of its family."""
    entries = tuple(entries)
    rates: dict[str, set[float]] = {}
    for entry in entries:
        if entry.frame_rate is not None:
            rates.setdefault(entry.family, set()).add(entry.frame_rate)
    common = {family: next(iter(found)) for family, found in rates.items() if len(found) == 1}
    return tuple(
        replace(entry, frame_rate=common.get(entry.family))
        if entry.output_kind == "video" and entry.frame_rate is None
        else entry
        for entry in entries
    )


def _family(entry: PipelineEntry, stems: Mapping[str, PipelineEntry]) -> str:
    """Return the family of a class: the longest prefix of its name that is a class without required files.

    A number after the prefix makes another family. Without such a class, the family is the name of the folder, if the class
    name begins with it, or the class name.
    """
    words = family_stem(entry.name).split("-")
    for length in range(len(words), 0, -1):
        root = stems.get("-".join(words[:length]))
        is_other_family = length < len(words) and words[length].isdigit()
        if root and not is_other_family and (entry.deprecated or not root.deprecated):
            return family_stem(root.name)
    folder = entry.module.rpartition(".")[0].rpartition(".")[2].replace("_", "-")
    return folder if folder and normalize_name("-".join(words)).startswith(normalize_name(folder)) else "-".join(words)
