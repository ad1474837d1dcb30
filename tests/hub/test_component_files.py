"""Components are told apart by their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from transformers.models.auto import (
    feature_extraction_auto,
    image_processing_auto,
    modeling_auto,
    processing_auto,
    tokenization_auto,
)

from octabox.hub.component_files import IndexedComponent

#: The classes that transformers itself lists, by what they are.
LISTED = {
    "processor": [
        image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES,
        feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES,
        processing_auto.PROCESSOR_MAPPING_NAMES,
    ],
    "tokenizer": [tokenization_auto.TOKENIZER_MAPPING_NAMES],
    "model": [modeling_auto.MODEL_MAPPING_NAMES],
}


def names_in(value: Any) -> Iterator[str]:
    """Yield the names of classes in a table, whose rows may be names, or tables and lists of them."""
    if isinstance(value, str):
        yield value
    elif value is not None:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from names_in(each)


@pytest.mark.parametrize("kind", LISTED)
def test_the_kind_of_every_class_of_transformers(kind: str) -> None:
    """Processors and tokenizers have no weights, whichever backend their classes are for."""
    names = {*names_in(LISTED[kind])}
    wrong = [each for each in sorted(names) if kind != IndexedComponent("part", "transformers", each).kind]

    assert len(names) > 20
    assert [] == wrong
