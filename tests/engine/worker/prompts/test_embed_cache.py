"""What is remembered of encoded prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from octabox.engine.worker.prompts.embed_cache import PromptEmbedCache, copied, key_of, state_of


def tensor(value: float, count: int = 1) -> torch.Tensor:
    """Return a tensor of 4 * count bytes."""
    return torch.full((count,), value)


def test_what_is_kept_is_not_made_again() -> None:
    """The second time nothing is made, and what the caller does to the first answer is not seen in it."""
    memory, made = PromptEmbedCache(), list[int]()

    def make() -> torch.Tensor:
        made.append(1)
        return tensor(1.0)

    memory.get("a", make).fill_(9)
    found = memory.get("a", make)
    found.fill_(8)

    assert [1] == made
    assert (1, 1) == (memory.hits, memory.misses)
    assert torch.equal(tensor(1.0), memory.get("a", make))


def test_the_oldest_goes_first() -> None:
    """No more is kept than may be, by number and by bytes; what was used last stays."""
    by_number, by_bytes = PromptEmbedCache(most=2), PromptEmbedCache(most_bytes=100)
    for memory in (by_number, by_bytes):
        for name in "abac":
            memory.get(name, lambda: tensor(0.0, 10))
        assert 1 == memory.hits
        memory.get("a", lambda: tensor(0.0, 10))
        assert 2 == memory.hits
        memory.get("b", lambda: tensor(0.0, 10))
        assert 2 == memory.hits


def test_what_is_too_large_is_not_kept() -> None:
    """One answer alone may be more than all that may be kept."""
    memory = PromptEmbedCache(most_bytes=8)
    memory.get("a", lambda: tensor(0.0, 100))
    memory.get("a", lambda: tensor(0.0, 100))

    assert 0 == memory.hits


def test_forgetting() -> None:
    """After it, everything is made anew."""
    memory = PromptEmbedCache()
    memory.get("a", lambda: tensor(0.0))
    memory.forget()
    memory.get("a", lambda: tensor(0.0))

    assert 0 == memory.hits


@pytest.mark.parametrize(
    "other",
    [
        torch.tensor([[1, 2, 4]]),
        torch.tensor([[1], [2], [3]]),
        torch.tensor([[1, 2, 3]], dtype=torch.int32),
        [1, 2, 3],
        None,
        {"a": torch.tensor([[1, 2, 3]])},
    ],
)
def test_keys(other: Any) -> None:
    """Tensors are told apart by content, shape and type."""
    one = torch.tensor([[1, 2, 3]])

    assert key_of(one) == key_of(one.clone())
    assert key_of(one) != key_of(other)


def test_half_types_and_numbers_have_keys() -> None:
    """A tensor that numpy has no type for, and one of no dimension, have keys too."""
    assert key_of(torch.tensor(1.0, dtype=torch.bfloat16)) != key_of(torch.tensor(2.0, dtype=torch.bfloat16))


def test_what_cannot_be_told_apart_has_no_key() -> None:
    """An object that may hold anything is refused."""
    with pytest.raises(TypeError):
        key_of((object(),))


def test_outputs_are_copied_whole() -> None:
    """An output keeps its class and its fields, tuples of tensors included."""
    output = BaseModelOutput(last_hidden_state=tensor(1.0), hidden_states=(tensor(2.0), tensor(3.0)))
    copy = copied(output)
    output.hidden_states[1].fill_(0)

    assert isinstance(copy, BaseModelOutput)
    assert torch.equal(tensor(3.0), copy.hidden_states[1])


def test_new_words_are_seen() -> None:
    """A table with more words is another state; the same one at another place in memory is not, since weights move."""
    table = torch.nn.Embedding(4, 2)
    encoder = torch.nn.Sequential(table, torch.nn.Linear(2, 2))
    before = state_of(encoder)
    table.weight.data = table.weight.data.clone()
    assert before == state_of(encoder)
    encoder[0] = torch.nn.Embedding(5, 2)

    assert before != state_of(encoder)
