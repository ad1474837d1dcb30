"""Find the sibling classes of a pipeline: classes that run on the same weights, for other tasks.

The auto pipeline mappings of diffusers come first. Otherwise two classes are siblings if they have the same family and the
same components, and neither needs weights that were trained for a special input: a class that requires an image and has no
``strength`` needs such weights, while one with ``strength`` only starts from the image instead of noise.

An extra component of a model, such as a ControlNet, adds the classes that need it and no other component.
"""

from __future__ import annotations

from collections.abc import Mapping

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.reading.annotations import parse_annotation

#: Parameter for the denoising strength; a class that has it runs on all weights of its family.
STRENGTH = "strength"

Families = Mapping[str, Mapping[str, str]]


def find_siblings(
    entry: PipelineEntry,
    pipelines: Mapping[str, PipelineEntry],
    families: Families,
    extra: frozenset[str] = frozenset(),
) -> tuple[PipelineEntry, ...]:
    """Return the other classes that run on the weights of a class, the most similar first.

    Args:
        entry: The class of the weights.
        pipelines: All classes by name.
        families: Auto pipeline mappings of diffusers.
        extra: Components of the model in addition to those of the class.
    """
    related = _relatives(entry.name, families)
    listed = {name for members in families.values() for name in members.values()}
    elsewhere = listed.difference(related) if entry.name in listed else set()
    found = [
        other
        for other in pipelines.values()
        if other.name in related or (other.name not in elsewhere and _same_components(entry, other))
    ]
    found = [other for other in found if _fits(other, entry) and _same_mask_use(other, entry)]
    found += [other for other in pipelines.values() if other not in found and _added_by(other, entry, extra)]
    compatible = [other for other in found if other.name != entry.name]
    return tuple(sorted(compatible, key=lambda other: (other.name not in related, len(other.name), other.name)))


def _relatives(name: str, families: Families) -> dict[str, None]:
    """Return all names in the mappings of diffusers that include a class."""
    rows = [members for members in families.values() if name in members.values()]
    return dict.fromkeys(member for members in rows for member in members.values())


def _fits(other: PipelineEntry, entry: PipelineEntry) -> bool:
    """Return whether the model of a class has all components that another class needs."""
    return other.modular == entry.modular and other.required_components <= {part.name for part in entry.components}


def _same_mask_use(one: PipelineEntry, other: PipelineEntry) -> bool:
    """Return whether both classes or neither need weights that were trained with a mask."""
    return _needs_mask(one) == _needs_mask(other)


def _needs_mask(entry: PipelineEntry) -> bool:
    return any(each.kind == "mask" for each in entry.media(required=True)) and entry.parameter(STRENGTH) is None


def _added_by(other: PipelineEntry, entry: PipelineEntry, extra: frozenset[str]) -> bool:
    """Return whether a class needs some of the extra components, and is otherwise made of the same components.

    Its optional components must exist too: Stable Diffusion XL has a second text encoder that may be None, and is not a class
    for Stable Diffusion with a ControlNet.
    """
    ours = {part.name: part.annotation for part in entry.components}
    needed = {part.name: part.annotation for part in other.components if not part.optional}
    known = {part.name for part in other.components} <= {*ours, *extra}
    if other.modular or other.deprecated or not known or not extra & needed.keys():
        return False
    shared = needed.keys() & ours.keys()
    complete = entry.required_components - extra <= {part.name for part in other.components}
    return complete and all(_compatible(needed[name], ours[name]) for name in shared)


def _compatible(one: str, other: str) -> bool:
    """Return whether both annotations allow a common class, or one of them names no class."""
    theirs, ours = parse_annotation(one).leaves, parse_annotation(other).leaves
    return not theirs or not ours or bool(theirs & ours)


def _same_components(entry: PipelineEntry, other: PipelineEntry) -> bool:
    ours = {part.name: part.annotation for part in entry.components if not part.optional}
    theirs = {part.name: part.annotation for part in other.components if not part.optional}
    return (
        bool(ours)
        and ours == theirs
        and entry.family == other.family
        and _folder(entry) == _folder(other)
        and (entry.deprecated or not other.deprecated)
        and entry.output_kind == other.output_kind
        and _takes_any_weights(entry)
        and _takes_any_weights(other)
    )


def _takes_any_weights(entry: PipelineEntry) -> bool:
    return not entry.media(required=True) or entry.parameter(STRENGTH) is not None


def _folder(entry: PipelineEntry) -> str:
    return entry.module.rpartition(".")[0]
