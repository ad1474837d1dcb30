"""Load files that torch pickled, without running code and without the classes of the trainer that wrote them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from octabox.hub.checkpoints.pickles import read_stand_ins
from octabox.hub.checkpoints.stand_ins import Form, StandIn
from octabox.hub.folder import PICKLE_SUFFIXES


def load_pickled(file: Path) -> Any:
    """Return the content of a file that torch pickled: its tensors, and stand-ins for the classes of trainers.

    Raises:
        RemoteCodeError: The file names a function or a class that is not for weights and may not be replaced.
        IncompatibleWeightsError: The file is damaged, or would take more memory than its size.
    """
    with _replaced(read_stand_ins(file)):
        return torch.load(file, map_location="cpu", weights_only=True)


@contextmanager
def replaced_classes(file: str | Path) -> Iterator[None]:
    """Within the context, let torch replace the classes of trainers in a file; other formats than pickles have none.

    Raises:
        RemoteCodeError: The file names a function or a class that is not for weights and may not be replaced.
        IncompatibleWeightsError: The file is damaged, or would take more memory than its size.
    """
    if Path(file).suffix.lower() not in PICKLE_SUFFIXES:
        yield
        return
    with _replaced(read_stand_ins(Path(file))):
        yield


@contextmanager
def _replaced(forms: dict[str, Form]) -> Iterator[None]:
    """Let the weights-only unpickler of torch use a stand-in for each of these names."""
    with torch.serialization.safe_globals([(_stand_in(form), name) for name, form in forms.items()]):
        yield


def _stand_in(form: Form) -> type:
    """Return a new class without behaviour; torch fills only plain mappings and lists by their items."""
    if form == "object":
        return type("StandIn", (StandIn,), {})
    content: type = OrderedDict if form == "mapping" else list
    return type("StandIn", (), {"__new__": lambda _cls, *_args, **_options: content()})
