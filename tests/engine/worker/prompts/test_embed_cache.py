"""The cache of text encoder outputs: eviction, keys and copies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPast

from octabox.engine.worker.prompts.embed_cache import (
    CallCache,
    PromptEmbedCache,
    cache_key,
    clone_output,
    encoder_state,
)
from octabox.engine.worker.prompts.text_encoders import TextEncoder

ENCODER = TextEncoder("text_encoder", torch.nn.Linear(1, 1))


def tensor(value: float, count: int = 1) -> torch.Tensor:
    """Return a tensor of 4 * count bytes."""
    return torch.full((count,), value)


def test_outputs_are_copied() -> None:
    """Changes of a stored output, or of a returned one, do not change the cache."""
    cache, output = PromptEmbedCache(), tensor(1.0)
    assert cache.find("a") is None
    cache.put("a", output)
    output.fill_(9)
    cache.find("a").fill_(8)

    assert torch.equal(tensor(1.0), cache.find("a"))
    assert (2, 1) == (cache.hits, cache.misses)


@pytest.mark.parametrize("cache", [PromptEmbedCache(max_entries=2), PromptEmbedCache(max_bytes=100)])
def test_the_least_recently_used_is_evicted(cache: PromptEmbedCache) -> None:
    """The number of outputs and their size are limited."""
    for name in "ab":
        cache.put(name, tensor(0.0, 10))
    assert cache.find("a") is not None
    cache.put("c", tensor(0.0, 10))

    assert ["a", "c"] == [name for name in "abc" if cache.find(name) is not None]


def test_an_output_may_be_too_large() -> None:
    """An output that is larger than the limit is not stored."""
    cache = PromptEmbedCache(max_bytes=8)
    cache.put("a", tensor(0.0, 100))

    assert cache.find("a") is None
    assert 1 == cache.misses


def test_keys_and_values_of_layers_are_not_stored() -> None:
    """A text encoder that generates returns them with its hidden states, though a prompt is only encoded."""
    cache, layers = PromptEmbedCache(), DynamicCache()
    layers.update(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), 0)
    cache.put("a", BaseModelOutputWithPast(last_hidden_state=tensor(1.0), past_key_values=layers))
    found = cache.find("a")

    assert torch.equal(tensor(1.0), found.last_hidden_state)
    assert found.past_key_values is None


def test_parts_of_an_unknown_type() -> None:
    """An output with a part that may hold tensors, and that cannot be copied, is not stored."""
    cache = PromptEmbedCache()
    cache.put("a", (tensor(1.0), torch.nn.Linear(1, 1)))

    assert cache.find("a") is None


def test_clear() -> None:
    """A cleared cache has no outputs."""
    cache = PromptEmbedCache()
    cache.put("a", tensor(0.0), frozenset({"cat"}))
    cache.clear()

    assert cache.find("a") is None
    assert not cache.has_any(frozenset({"cat"}))


def test_prompts_of_stored_outputs() -> None:
    """An evicted output does not count for its prompts."""
    cache = PromptEmbedCache(max_entries=1)
    cache.put("a", tensor(0.0), frozenset({"cat", "bad"}))
    assert cache.has_any(frozenset({"dog", "bad"}))
    cache.put("b", tensor(0.0), frozenset({"dog"}))

    assert not cache.has_any(frozenset({"cat", "bad"}))


def test_outputs_without_a_key_are_not_stored() -> None:
    """An argument that has no key, and gradients, bypass the cache."""
    cache = CallCache(PromptEmbedCache(), frozenset())
    assert cache.key(ENCODER, object()) is None
    with torch.no_grad():
        assert cache.key(ENCODER, object()) is None
        assert cache.key(ENCODER, 1) is not None
    cache.put(None, tensor(0.0))

    assert cache.find(None) is None
    assert 0 == cache.cache.misses


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
    """The key of a tensor depends on its content, shape and dtype."""
    one = torch.tensor([[1, 2, 3]])

    assert cache_key(one) == cache_key(one.clone())
    assert cache_key(one) != cache_key(other)


def test_scalars_of_half_precision_have_keys() -> None:
    """A tensor of a dtype that numpy lacks, and without dimensions, has a key."""
    assert cache_key(torch.tensor(1.0, dtype=torch.bfloat16)) != cache_key(torch.tensor(2.0, dtype=torch.bfloat16))


def test_other_objects_have_no_key() -> None:
    """An object of another type raises."""
    with pytest.raises(TypeError):
        cache_key((object(),))


def test_model_outputs_are_cloned() -> None:
    """A copied output keeps its class and its fields, tuples of tensors included."""
    output = BaseModelOutput(last_hidden_state=tensor(1.0), hidden_states=(tensor(2.0), tensor(3.0)))
    copy = clone_output(output)
    output.hidden_states[1].fill_(0)

    assert isinstance(copy, BaseModelOutput)
    assert torch.equal(tensor(3.0), copy.hidden_states[1])


def test_the_state_depends_on_the_vocabulary() -> None:
    """A larger embedding table changes the state of an encoder; another address of the weights does not."""
    table = torch.nn.Embedding(4, 2)
    encoder = torch.nn.Sequential(table, torch.nn.Linear(2, 2))
    before = encoder_state(encoder)
    table.weight.data = table.weight.data.clone()
    assert before == encoder_state(encoder)
    encoder[0] = torch.nn.Embedding(5, 2)

    assert before != encoder_state(encoder)
