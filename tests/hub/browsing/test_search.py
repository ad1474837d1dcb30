"""A search whose results cannot all be described."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi

from local_hub import LocalHub
from octabox.cli.main import cli
from octabox.errors import DownloadError
from octabox.hub.browsing.memory import Machine
from octabox.hub.browsing.search import Query, describe_model, search_models

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


@pytest.mark.parametrize(
    ("about", "licence", "task"),
    [
        ({"cardData": {"license": ["mit", "apache-2.0"]}}, "mit, apache-2.0", None),
        ({"cardData": {"license": {"name": "mit"}}, "tags": ["license:mit", 3]}, "mit", None),
        ({"cardData": {"license": "mit\x1b[2J"}, "pipeline_tag": ["text-to-image"]}, "mit\ufffd[2J", "text-to-image"),
        ({"pipeline_tag": 3, "config": {"diffusers": "X"}, "likes": None}, None, None),
        ({"config": "X", "tags": "lora"}, None, None),
    ],
)
def test_fields_of_any_type_are_shown_as_texts(
    hub: LocalHub, about: dict[str, Any], licence: str | None, task: str | None
) -> None:
    """The author of a card may write anything: a list of licences is shown, and one odd model does not end the search."""
    hub.repos["org/two"].about.update(about)
    found = describe_model("org/two", MACHINE, lambda _: True)

    assert (licence, task) == (found.licence, found.task)


def test_a_model_with_several_licences_is_found(hub: LocalHub) -> None:
    """The table has them in one cell."""
    hub.repos["org/two"].about["cardData"] = {"license": ["mit", "apache-2.0"]}
    result = CliRunner().invoke(cli, ["search", "org"], standalone_mode=False)

    assert 0 == result.exit_code, result.exception
    assert "mit, apache-2.0" in result.output
