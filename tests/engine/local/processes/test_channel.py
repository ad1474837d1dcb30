"""Messages to a worker as bytes; the pipe itself is tested with processes, in `test_worker_process.py`."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import Any

import pytest

from fake_worker import call
from octabox.engine.local.processes.channel import pack, pack_message
from octabox.engine.messages import RunCall
from octabox.engine.protocol import Run
from octabox.errors import InvalidParameterError


def nested(levels: int) -> dict[str, Any]:
    """Return an object of so many levels."""
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    return deep


@pytest.mark.parametrize(
    ("value", "words"),
    [(nested(5000), "nested too deeply"), (lambda: None, "cannot be sent")],
    ids=["deep", "function"],
)
def test_a_call_that_cannot_be_sent_names_the_parameter(value: object, words: str) -> None:
    """The error is the client's to mend."""
    params = {"prompt": "a red circle", "cross_attention_kwargs": value}
    with pytest.raises(InvalidParameterError, match=words) as caught:
        pack(RunCall(replace(call(), runs=(Run(params),))))

    assert ("cross_attention_kwargs", "demo") == (caught.value.parameter, caught.value.model)


@pytest.mark.parametrize(
    ("params", "inputs", "threads"),
    [({"prompt": "x", "seed": 1}, {}, 0), ({"prompt": ["x", "y"]}, {}, 1), ({"prompt": "x"}, {"image": (b"x",)}, 1)],
    ids=["small", "nested", "media"],
)
async def test_only_what_may_take_time_is_packed_in_a_thread(
    params: dict[str, Any], inputs: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are the same either way."""
    started: list[object] = []

    async def in_thread(work: Any, *arguments: Any) -> Any:
        started.append(work)
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", in_thread)
    message = RunCall(replace(call(), runs=(Run(params, inputs),)))
    packed = await pack_message(message)

    assert message == pickle.loads(packed)
    assert threads == len(started)
