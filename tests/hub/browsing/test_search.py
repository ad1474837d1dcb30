"""A search whose results cannot all be described."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import HfApi

from local_hub import LocalHub
from octabox.errors import DownloadError
from octabox.hub.browsing.memory import Machine
from octabox.hub.browsing.search import Query, search_models

MACHINE = Machine(2**34, accelerator=False, host=2**34)


@pytest.fixture
def hub(local_hub: LocalHub) -> LocalHub:
    """Return a Hub with two models."""
    for name in ("org/one", "org/two"):
        local_hub.add(name, {"model_index.json": b'{"_class_name": "X"}'})
    return local_hub


def names() -> set[str]:
    """Return the names that a search finds."""
    return {each.name for each in search_models(Query("org"), MACHINE, lambda _: True)}


def test_a_limit_after_the_list_is_an_error(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not an empty result, which would say that there is no such model."""
    list_models = HfApi.list_models

    def then_busy(self: HfApi, **options: Any) -> Any:
        found = [*list_models(self, **options)]
        hub.busy = 99
        return found

    assert {"org/one", "org/two"} == names()
    monkeypatch.setattr(HfApi, "list_models", then_busy)
    with pytest.raises(DownloadError) as caught:
        names()
    assert "rate_limited" == caught.value.code


@pytest.mark.parametrize("change", [{"private": True}, {"disabled": True}])
def test_what_has_gone_since_the_list_is_left_out(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, change: dict[str, bool]
) -> None:
    """The others are found."""
    list_models = HfApi.list_models

    def then_gone(self: HfApi, **options: Any) -> Any:
        found = [*list_models(self, **options)]
        for name, value in change.items():
            setattr(hub.repos["org/two"], name, value)
        return found

    monkeypatch.setattr(HfApi, "list_models", then_gone)
    assert {"org/one"} == names()
