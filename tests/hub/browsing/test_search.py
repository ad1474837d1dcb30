"""A search whose results cannot all be described."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi

from local_hub import LocalHub
from octabox.cli.main import cli
from octabox.errors import DownloadError
from octabox.hub.browsing import search
from octabox.hub.browsing.description import describe_model
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
        hub.busy, hub.retry_after = 99, 99
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


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_result_that_the_hub_does_not_answer_about_is_shown_without_its_size(hub: LocalHub, status: int) -> None:
    """The others are described; what the list states of it remains."""
    hub.statuses["org/two"], hub.retry_after = [status] * 9, 99
    hub.repos["org/two"].about |= {"pipeline_tag": "text-to-image", "downloads": 7}
    found = {each.name: each for each in search_models(Query("org"), MACHINE, lambda _: True)}
    one, two = found["org/one"], found["org/two"]

    assert (None, 20, "diffusers") == (one.error, one.size, one.kind)
    assert ("rate_limited" if status == 429 else "hub_unavailable") == two.error
    assert (None, None, None, "text-to-image", 7) == (two.size, two.kind, two.fits, two.task, two.downloads)
    hub.statuses["org/two"] = [status] * 9
    cells = CliRunner().invoke(cli, ["search", "org"], standalone_mode=False).output
    assert "rate-limited" in cells or "hub-unavailable" in cells


def test_a_limited_request_is_repeated_as_the_hub_asks(hub: LocalHub) -> None:
    """Once the stated seconds have passed, also for the index."""
    hub.statuses["org/two"], hub.retry_after = [429, 429], 1

    assert [None, None] == [each.error for each in search_models(Query("org"), MACHINE, lambda _: True)]
    assert [] == hub.statuses["org/two"]


def test_a_search_waits_for_a_bounded_time(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub that limits each request does not hold a search for ever."""
    monkeypatch.setattr(search, "MAX_WAIT", 1.5)
    hub.statuses["org/two"], hub.retry_after = [429] * 99, 1

    assert {"org/one": None, "org/two": "rate_limited"} == {
        each.name: each.error for each in search_models(Query("org"), MACHINE, lambda _: True)
    }
    assert 97 == len(hub.statuses["org/two"])


def test_the_largest_of_more_than_the_shown_results_are_found(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub cannot sort by size, so that a bounded number of the most downloaded models is compared."""
    for number in range(8):
        hub.add(f"big/m{number}", {"a.safetensors": b"0" * 50 * (number + 1)}, downloads=90 - number)
    monkeypatch.setattr(search, "MIN_COMPARED", 7)

    def sizes(limit: int) -> list[str]:
        found = search_models(Query("big", sort="size", limit=limit), MACHINE, lambda _: True)
        return [each.name for each in found]

    assert ["big/m6", "big/m5"] == sizes(2)
    assert ["big/m7", "big/m6", "big/m5", "big/m4"] == sizes(4)
    told = CliRunner().invoke(cli, ["search", "big", "--sort", "size"], standalone_mode=False).stderr
    assert "The largest of the 40 most downloaded models" in told
