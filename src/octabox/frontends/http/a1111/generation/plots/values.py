"""The values of the axes of a plot: texts, numbers and ranges, seeds, and orders of parts of a prompt."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import secrets
from collections.abc import Iterator, Sequence

import numpy as np

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.schema import RANDOM
from octabox.service.planning import MAX_RANDOM_SEED

#: Maximum number of combinations.
MAX_CELLS = 100

#: Axes whose values are numbers, which may be ranges.
NUMBERS = frozenset({"Seed", "Var. seed", "Var. strength", "Steps", "Hires steps", "CFG Scale", "Image CFG Scale"}) | {
    "Eta",
    "Clip skip",
    "Denoising",
    *("Sigma Churn", "Sigma min", "Sigma max", "Sigma noise", "Initial noise multiplier", "Refiner switch at"),
}

_NUMBER = r"\s*([+-]?\d+(?:\.\d*)?)\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\(([+-]\d+(?:\.\d*)?)\s*\))?\s*")
_COUNT = re.compile(rf"{_NUMBER}-{_NUMBER}\[(\d+)\s*\]\s*")


def fixed_seeds(seeds: Sequence[str]) -> tuple[str, ...]:
    """Return the seeds of an axis, those at random replaced by one for all combinations."""
    return tuple(str(secrets.randbelow(MAX_RANDOM_SEED)) if each in ("", str(RANDOM)) else each for each in seeds)


def parse_values(name: str, text: str) -> tuple[str, ...]:
    """Return the values of an axis: separated by commas, with ranges if they are numbers.

    Raises:
        InvalidParameterError: A value is too long, or is not a number of an axis of numbers.
    """
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error as error:
        raise InvalidParameterError(
            f"The values of the axis '{name}' cannot be read: {error}.", parameter="script_args"
        ) from None
    parts = [part.strip() for part in itertools.chain.from_iterable(rows)]
    if name not in NUMBERS:
        return tuple(parts)
    numbers = (number for part in parts if part for number in _range(part))
    return tuple(str(int(number)) if number.is_integer() else f"{number:g}" for number in numbers)


def parse_orders(parts: Sequence[str]) -> tuple[str, ...]:
    """Return all orders of parts of a prompt, each as a line of comma-separated values."""
    found = []
    for order in itertools.islice(itertools.permutations(parts), MAX_CELLS + 1):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(order)
        found.append(line.getvalue())
    return tuple(found)


def _range(text: str) -> Iterator[float]:
    """Yield the numbers of a range: ``1-5``, ``1-5 (+2)``, ``0-10 [5]``, or one number.

    Raises:
        InvalidParameterError: The text is not a range.
    """
    try:
        if match := _COUNT.fullmatch(text):
            start, end, number = map(_finite, match.groups())
            yield from np.linspace(start, end, int(min(number, MAX_CELLS + 1))).tolist()
        elif match := _RANGE.fullmatch(text):
            start, end, step = (_finite(each or "1") for each in match.groups())
            steps = (end - start) / step + 1e-6 if step and (end - start) * step >= 0 else -1
            yield from (start + index * step for index in range(int(min(steps, MAX_CELLS)) + 1))
        else:
            yield _finite(text)
    except ValueError:
        hint = "Separate values by commas, such as 1, 2, 3, or write a range such as 1-5 (+2)."
        raise InvalidParameterError(f"'{text[:60]}' is not a number.", hint=hint, parameter="script_args") from None


def _finite(text: str) -> float:
    """Return the number of a text.

    Raises:
        ValueError: The text is not a number, or it is too large.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
