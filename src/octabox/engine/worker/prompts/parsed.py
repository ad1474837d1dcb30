"""Parse prompts by the syntax that they are written in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.prompts import attention
from octabox.prompts.attention import Fragment, check_weight
from octabox.prompts.compel_limits import check_compel_limits
from octabox.prompts.names import is_prompt
from octabox.prompts.wildcards import is_json, unescape

#: Maximum nesting of brackets: Compel's parser takes ten times as long for each level, which is seconds at four.
MAX_DEPTH = 3

#: Syntax of Compel that a call does not support: it changes the prompt between steps, or the weights.
SWAP, LORA = ".swap(", ".withLora("


@dataclass(frozen=True)
class Section:
    """A part of a prompt that is encoded separately.

    Args:
        branches: Sequences of fragments; several are blended.
        blend_weights: The weight of each branch in the blend.
        normalize: Whether the blend weights are normalized to a sum of 1.
        weight: The weight of the section.
    """

    branches: tuple[tuple[Fragment, ...], ...]
    blend_weights: tuple[float, ...] = (1.0,)
    normalize: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class ParsedPrompt:
    """A parsed prompt.

    Args:
        parameter: The call parameter that holds it.
        text: The prompt without the syntax for weights.
        sections: Its parts.
        warnings: Messages about syntax that is not supported.
    """

    parameter: str
    text: str
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_weighted(self) -> bool:
        """Whether it has weights, a blend or several sections."""
        first = self.sections[0]
        is_single = len(self.sections) == 1 and len(first.branches) == 1 and first.weight == 1
        return not is_single or any(each.weight != 1 for each in first.branches[0])

    def as_single_section(self) -> ParsedPrompt:
        """Return the prompt with its sections joined, for encoders without chunks; of a blend only the first branch is kept."""
        if len(self.sections) == 1:
            return self
        fragments = tuple(
            Fragment(f"{each.text} ", each.weight * section.weight)
            for section in self.sections
            for each in section.branches[0]
        )
        return replace(self, sections=(Section((fragments,)),))

    def with_context(self, prefix: str, suffix: str, convert: Callable[[str], str]) -> ParsedPrompt:
        """Return the prompt as it occurs in a longer text.

        Args:
            prefix: The text before it.
            suffix: The text after it.
            convert: Converts its text as the pipeline has done.
        """
        sections = [
            replace(part, branches=tuple(_convert(each, convert) for each in part.branches)) for part in self.sections
        ]
        if prefix:
            branches = tuple((Fragment(prefix), *each) for each in sections[0].branches)
            sections[0] = replace(sections[0], branches=branches)
        if suffix:
            branches = tuple((*each, Fragment(suffix)) for each in sections[-1].branches)
            sections[-1] = replace(sections[-1], branches=branches)
        return replace(self, text=f"{prefix}{convert(self.text)}{suffix}", sections=tuple(sections))


def _convert(branch: Iterable[Fragment], convert: Callable[[str], str]) -> tuple[Fragment, ...]:
    return tuple(Fragment(convert(each.text), each.weight) for each in branch)


def parse_plain(text: str, parameter: str = "") -> ParsedPrompt:
    """Return a prompt without weights, whose text is used as it is."""
    return ParsedPrompt(parameter, text, (Section(((Fragment(text),),)),))


def parse_prompts(params: Mapping[str, Any], syntax: str) -> dict[str, ParsedPrompt]:
    """Return the parsed prompts of a run by parameter.

    Args:
        params: The parameters of the run.
        syntax: The syntax of its prompts; those that are JSON have none.

    Raises:
        InvalidParameterError: A weight is out of range, or there are too many groups.
    """
    parse = PARSERS[syntax]
    texts = {name: text for name, text in params.items() if is_prompt(name) and isinstance(text, str)}
    return {
        name: parse_plain(text, name) if syntax == "plain" or is_json(text) else parse(unescape(text), name)
        for name, text in texts.items()
    }


def _parse_a1111(text: str, parameter: str) -> ParsedPrompt:
    """Parse a prompt by the syntax of the AUTOMATIC1111 web UI."""
    found = attention.parse_prompt(text, parameter)
    return ParsedPrompt(parameter, found.text, tuple(Section((each,)) for each in found.sections), found.warnings)


def _parse_compel(text: str, parameter: str) -> ParsedPrompt:
    """Parse a prompt by Compel's syntax; a text that Compel rejects is used as it is, with a warning."""
    from compel import Compel  # noqa: PLC0415 (the import takes a second, and few prompts need it)

    check_compel_limits(text, parameter)
    if _depth(text) > MAX_DEPTH:
        warning = f"'{parameter}' has more than {MAX_DEPTH} nested brackets, and was used without weights."
        return replace(parse_plain(text, parameter), warnings=(warning,))
    try:
        parsed = Compel.parse_prompt_string(text)
    except Exception as error:  # noqa: BLE001 (its parser raises errors of any class)
        reason = " ".join(str(error).split())[:200]
        warning = f"'{parameter}' is not valid Compel syntax, and was used without weights: {reason}"
        return replace(parse_plain(text, parameter), warnings=(warning,))
    sections = tuple(
        replace(_parse_section(part, parameter), weight=float(weight))
        for part, weight in zip(parsed.prompts, parsed.weights, strict=True)
    )
    sections = sections or parse_plain("").sections
    for section in sections:
        check_weight("the section", section.weight, parameter)
    plain_text = " ".join("".join(each.text for each in branch) for part in sections for branch in part.branches)
    return ParsedPrompt(parameter, plain_text, sections, tuple(_unsupported_syntax(text, parameter)))


def _parse_section(part: Any, parameter: str) -> Section:
    """Return a section for one of Compel's prompts or blends."""
    if not hasattr(part, "prompts"):
        return Section((_parse_branch(part, parameter),))
    branches = tuple(_parse_branch(each, parameter) for each in part.prompts)
    for branch, weight in zip(branches, part.weights, strict=True):
        check_weight(" ".join(each.text for each in branch), float(weight), parameter)
    return Section(branches, tuple(map(float, part.weights)), bool(part.normalize_weights))


def _parse_branch(prompt: Any, parameter: str) -> tuple[Fragment, ...]:
    """Return the fragments of one of Compel's prompts; of a swap, the original text."""
    fragments = [part for child in prompt.children for part in (getattr(child, "original", None) or [child])]
    for each in fragments:
        check_weight(each.text, each.weight, parameter)
    # Compel removes the spaces between fragments.
    return tuple(
        Fragment(f" {each.text}" if index else each.text, float(each.weight)) for index, each in enumerate(fragments)
    )


def _unsupported_syntax(text: str, parameter: str) -> list[str]:
    """Return a warning for each feature of Compel that has no effect."""
    found = []
    if SWAP in text:
        found.append(f"'{SWAP}...)' in '{parameter}' has no effect: a call does not change its prompt between steps.")
    if LORA in text:
        found.append(f"'{LORA}...)' in '{parameter}' has no effect: set `adapters` instead.")
    return found


def _depth(text: str) -> int:
    """Return the maximum nesting of round brackets."""
    deepest = depth = 0
    for bracket in re.findall(r"(?<!\\)[()]", text):
        depth = depth + 1 if bracket == "(" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


#: The parser of each syntax.
PARSERS: Mapping[str, Callable[[str, str], ParsedPrompt]] = {
    "plain": parse_plain,
    "a1111": _parse_a1111,
    "compel": _parse_compel,
}
