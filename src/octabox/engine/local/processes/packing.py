"""Messages to a worker as bytes."""

from __future__ import annotations

import asyncio
from multiprocessing.reduction import ForkingPickler
from typing import Any

from octabox.engine.messages import RunBatch, RunCall, ToWorker
from octabox.errors import InvalidParameterError

#: Types of parameters that take no time to pack; the size of a text is limited by that of a request.
_SMALL = (str, int, float, bool, type(None))


def pack(message: ToWorker) -> Any:
    """Return a message as bytes.

    Raises:
        InvalidParameterError: A parameter of the call cannot be sent.
    """
    try:
        return ForkingPickler.dumps(message)
    except Exception as error:
        if not isinstance(message, RunCall):
            raise
        params = [item for run in message.call.runs for item in run.params.items()]
        name = next((name for name, value in params if not _can_pack(value)), None)
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"cannot be sent to a worker: {error}"
        raise InvalidParameterError(
            f"{f'`{name}`' if name else 'The request'} {reason}.",
            hint="Send plain values, in few levels.",
            model=message.call.model.name,
            parameter=name,
        ) from error


async def pack_message(message: ToWorker) -> Any:
    """Return a message as bytes, made in a thread where that may take time.

    A thread takes longer than a small message, most of all on a busy machine.

    Raises:
        InvalidParameterError: A parameter of the call cannot be sent.
    """
    return pack(message) if _is_small(message) else await asyncio.to_thread(pack, message)


def _is_small(message: ToWorker) -> bool:
    """Return whether a message has neither media nor nested values."""
    calls = message.calls if isinstance(message, RunBatch) else (message.call,) if isinstance(message, RunCall) else ()
    runs = [run for call in calls for run in call.runs]
    return not any(run.inputs or not all(isinstance(value, _SMALL) for value in run.params.values()) for run in runs)


def _can_pack(value: Any) -> bool:
    """Return whether a value can be sent."""
    try:
        ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001 (a class may raise anything)
        return False
    return True
