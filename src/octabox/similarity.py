"""Find the names that a misspelled or shortened name may stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from operator import ne

#: Words of a name, such as those of `num_inference_steps` and `scheduler.type`.
_WORDS = re.compile(r"[^\W_]+")

#: Length up to which a word that ends in `s` is not taken for a plural, and from which a wrong letter is one.
_SHORT = 3

#: Length from which on a name resembles none: comparing it takes the product of both lengths.
_MAX_LENGTH = 200

#: Similarity from which two names may be the same one, misspelled.
_CUTOFF = 0.75


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """Return the names that ``name`` may stand for, ignoring case, best first; none if it resembles none.

    These are the names that have all its words (``steps``: ``num_inference_steps``), those with the fewest others first; else
    those with nearly the same letters; else those that it only adds words before (``init_image``: ``image``).
    """
    by_lower: dict[str, str] = {}
    for choice in choices:
        by_lower.setdefault(choice.lower(), choice)
    requested = _words(name) if len(name) <= _MAX_LENGTH else []
    if not requested:
        return []
    words = {choice: _words(choice) for choice in by_lower}
    found = sorted((choice for choice in words if {*requested} <= {*words[choice]}), key=lambda each: len(words[each]))
    if not found:
        similarity = {choice: _similarity(name.lower(), choice) for choice in by_lower}
        close = (choice for choice in by_lower if similarity[choice] >= _CUTOFF)
        found = sorted(close, key=similarity.__getitem__, reverse=True)
    if not found:
        found = [choice for choice in words if words[choice] and words[choice] == requested[-len(words[choice]) :]]
    return [by_lower[choice] for choice in found[:count]]


def _words(name: str) -> list[str]:
    """Return the words of a name in the singular."""
    return [word if len(word) <= _SHORT else word.removesuffix("s") for word in _WORDS.findall(name.lower())]


def _similarity(first: str, second: str) -> float:
    """Return how similar two names are, from 0 to 1; exchanged letters and a single wrong one count little."""
    matcher = SequenceMatcher(None, second, first)
    has_one_wrong = len(first) == len(second) >= _SHORT and sum(map(ne, first, second)) == 1
    if has_one_wrong or sorted(first) == sorted(second):
        return max(_CUTOFF, matcher.ratio())
    return 0.0 if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < _CUTOFF else matcher.ratio()
