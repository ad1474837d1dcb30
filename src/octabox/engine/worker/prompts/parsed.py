"""Read a prompt by the syntax that it is written in."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.prompts import attention
from octabox.prompts.attention import Fragment, check_weight
from octabox.prompts.names import is_prompt
from octabox.prompts.wildcards import unescaped

logger = logging.getLogger("octabox.prompts")

#: Compel's parser takes ten times as long for each further bracket that is open; with four it takes seconds.
MAX_DEPTH = 3

#: What Compel reads and a call cannot do: it would have to change the prompt between steps, or the weights.
SWAP, LORA = ".swap(", ".withLora("


@dataclass(frozen=True)
class Section:
    """A part of a prompt that is encoded by itself.

    Args:
        strands: Its fragments; several sequences of them are blended.
        shares: How much of each strand there is in the blend.
        normalised: Whether the shares are brought to a sum of 1.
        weight: How strong the section is as a whole.
    """

    strands: tuple[tuple[Fragment, ...], ...]
    shares: tuple[float, ...] = (1.0,)
    normalised: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class ParsedPrompt:
    """A prompt that has been read.

    Args:
        parameter: The call parameter that it was given for.
        plain: Its words alone.
        sections: Its parts.
        warnings: What was taken otherwise than it may have been meant.
    """

    parameter: str
    plain: str
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_weighted(self) -> bool:
        """Whether it says more than its plain words do."""
        sections = self.sections
        alone = len(sections) == 1 and len(sections[0].strands) == 1 and sections[0].weight == 1
        return not alone or any(each.weight != 1 for each in sections[0].strands[0])

    def joined(self) -> ParsedPrompt:
        """Return it as one section, for an encoder that takes no more than one; of a blend among several the first strand."""
        if len(self.sections) < 2:  # noqa: PLR2004 (one is joined already)
            return self
        fragments = tuple(
            Fragment(f"{each.text} ", each.weight * section.weight)
            for section in self.sections
            for each in section.strands[0]
        )
        return replace(self, sections=(Section((fragments,)),))

    def within(self, before: str, after: str, change: Callable[[str], str]) -> ParsedPrompt:
        """Return it with words around it, its own changed as a pipeline has changed them."""
        sections = [
            replace(part, strands=tuple(_changed(each, change) for each in part.strands)) for part in self.sections
        ]
        first, last = sections[0], sections[-1]
        sections[0] = (
            replace(first, strands=tuple((Fragment(before), *each) for each in first.strands)) if before else first
        )
        last = sections[-1]
        sections[-1] = (
            replace(last, strands=tuple((*each, Fragment(after)) for each in last.strands)) if after else last
        )
        return replace(self, plain=f"{before}{change(self.plain)}{after}", sections=tuple(sections))


def _changed(strand: Iterable[Fragment], change: Callable[[str], str]) -> tuple[Fragment, ...]:
    return tuple(Fragment(change(each.text), each.weight) for each in strand)


def plain(text: str, parameter: str = "") -> ParsedPrompt:
    """Return words as they stand."""
    return ParsedPrompt(parameter, text, (Section(((Fragment(text),),)),))


def readings(params: Mapping[str, Any], syntax: str) -> dict[str, ParsedPrompt]:
    """Return the prompts among a run's parameters, each as it is to be read.

    Raises:
        InvalidParameterError: A weight is out of range.
    """
    read = READERS[syntax]
    texts = {name: text for name, text in params.items() if is_prompt(name) and isinstance(text, str)}
    return {name: read(text if syntax == "plain" else unescaped(text), name) for name, text in texts.items()}


def _web_ui(text: str, parameter: str) -> ParsedPrompt:
    """Read a prompt as the AUTOMATIC1111 web UI does."""
    found = attention.read(text, parameter)
    return ParsedPrompt(parameter, found.plain, tuple(Section((each,)) for each in found.sections), found.warnings)


def _compel(text: str, parameter: str) -> ParsedPrompt:
    """Read a prompt as Compel does; what Compel cannot read is taken for words."""
    from compel import Compel  # noqa: PLC0415 (it takes a second, and few prompts need it)

    if _depth(text) > MAX_DEPTH:
        warning = f"'{parameter}' has more than {MAX_DEPTH} brackets inside one another: it was taken for words."
        return replace(plain(text, parameter), warnings=(warning,))
    try:
        parsed = Compel.parse_prompt_string(text)
    except Exception as error:  # noqa: BLE001 (its parser raises what it likes)
        words = " ".join(str(error).split())[:200]
        warning = f"'{parameter}' cannot be read as Compel's syntax, and was taken for words: {words}"
        return replace(plain(text, parameter), warnings=(warning,))
    sections = tuple(
        replace(_section(part, parameter), weight=float(weight))
        for part, weight in zip(parsed.prompts, parsed.weights, strict=True)
    )
    sections = sections or plain("").sections
    for section in sections:
        check_weight("the section", section.weight, parameter)
    words = " ".join("".join(each.text for each in strand) for part in sections for strand in part.strands)
    return ParsedPrompt(parameter, words, sections, tuple(_doubts(text, parameter)))


def _section(part: Any, parameter: str) -> Section:
    """Return one of Compel's prompts or blends as a section."""
    if not hasattr(part, "prompts"):
        return Section((_strand(part, parameter),))
    strands = tuple(_strand(each, parameter) for each in part.prompts)
    for words, share in zip(strands, part.weights, strict=True):
        check_weight(" ".join(each.text for each in words), float(share), parameter)
    return Section(strands, tuple(map(float, part.weights)), bool(part.normalize_weights))


def _strand(prompt: Any, parameter: str) -> tuple[Fragment, ...]:
    """Return the fragments of one of Compel's prompts; of a word that is to be swapped the one that stands there first."""
    fragments = [part for child in prompt.children for part in (getattr(child, "original", None) or [child])]
    for each in fragments:
        check_weight(each.text, each.weight, parameter)
    # Compel leaves out the spaces between them.
    return tuple(
        Fragment(f" {each.text}" if index else each.text, float(each.weight)) for index, each in enumerate(fragments)
    )


def _doubts(text: str, parameter: str) -> list[str]:
    """Return warnings of what Compel reads and nothing comes of."""
    found = []
    if SWAP in text:
        found.append(f"'{SWAP}...)' in '{parameter}' has no effect: a call does not change its prompt between steps.")
    if LORA in text:
        found.append(f"'{LORA}...)' in '{parameter}' has no effect: name adapters beside the prompt.")
    return found


def _depth(text: str) -> int:
    """Return how many round brackets are open at once."""
    deepest = depth = 0
    for bracket in re.findall(r"(?<!\\)[()]", text):
        depth = depth + 1 if bracket == "(" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


#: How each syntax is read.
READERS: Mapping[str, Callable[[str, str], ParsedPrompt]] = {"plain": plain, "a1111": _web_ui, "compel": _compel}
