"""Find the other tasks that a loaded model can do: the classes that run on the same weights.

Diffusers' own tables of siblings come first. Besides them, two classes are siblings when they are of one family, are
made of the same components, and neither was trained for an input of its own: a class that needs an image but has no
``strength`` puts it through weights made for it, while one that has it only starts from the image in place of noise.

A component that a model has beside those of its class, such as a ControlNet, opens the classes that need it and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.reading.annotations import parse_annotation

#: How far a call goes from the image it starts with: its presence says that any weights of the family will do.
STRENGTH = "strength"

Families = Mapping[str, Mapping[str, str]]


def find_siblings(
    entry: PipelineEntry,
    pipelines: Mapping[str, PipelineEntry],
    families: Families,
    extra: frozenset[str] = frozenset(),
) -> tuple[PipelineEntry, ...]:
    """Return the other classes that run on this one's weights, the likest first.

    Args:
        entry: The class that the weights are of.
        pipelines: All classes by name.
        families: Diffusers' own tables of siblings.
        extra: Components that are there beside those of the class.
    """
    related = _relatives(entry.name, families)
    listed = {name for members in families.values() for name in members.values()}
    elsewhere = listed.difference(related) if entry.name in listed else set()
    found = [
        other
        for other in pipelines.values()
        if other.name in related or (other.name not in elsewhere and _same_make(entry, other))
    ]
    found = [other for other in found if _fits(other, entry) and _repaints_alike(other, entry)]
    found += [other for other in pipelines.values() if other not in found and _opened(other, entry, extra)]
    fitting = [other for other in found if other.name != entry.name]
    return tuple(sorted(fitting, key=lambda other: (other.name not in related, len(other.name), other.name)))


def _relatives(name: str, families: Families) -> dict[str, None]:
    """Return all names in the rows of diffusers' tables where this one stands."""
    rows = [members for members in families.values() if name in members.values()]
    return dict.fromkeys(member for members in rows for member in members.values())


def _fits(other: PipelineEntry, entry: PipelineEntry) -> bool:
    """Return whether a class needs no component that this one's model has not."""
    return other.modular == entry.modular and other.required_components <= {part.name for part in entry.components}


def _repaints_alike(one: PipelineEntry, other: PipelineEntry) -> bool:
    """Return whether both or neither need weights that were trained with a mask."""
    return _needs_mask(one) == _needs_mask(other)


def _needs_mask(entry: PipelineEntry) -> bool:
    return any(each.kind == "mask" for each in entry.media(required=True)) and entry.parameter(STRENGTH) is None


def _opened(other: PipelineEntry, entry: PipelineEntry, extra: frozenset[str]) -> bool:
    """Return whether extra components make a class out of this one's: it needs some of them, and all else is the same.

    Parts that it might do without are to be there, too: Stable Diffusion XL has a second text encoder that may be None, and
    is not what Stable Diffusion becomes with a ControlNet.
    """
    ours = {part.name: part.annotation for part in entry.components}
    needed = {part.name: part.annotation for part in other.components if not part.optional}
    known = {part.name for part in other.components} <= {*ours, *extra}
    if other.modular or other.deprecated or not known or not extra & needed.keys():
        return False
    shared = needed.keys() & ours.keys()
    whole = entry.required_components - extra <= {part.name for part in other.components}
    return whole and all(_alike(needed[name], ours[name]) for name in shared)


def _alike(one: str, other: str) -> bool:
    """Return whether some class is allowed by both annotations, or one of them names none."""
    theirs, ours = parse_annotation(one).leaves, parse_annotation(other).leaves
    return not theirs or not ours or bool(theirs & ours)


def _same_make(entry: PipelineEntry, other: PipelineEntry) -> bool:
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
