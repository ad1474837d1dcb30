"""The page where a model is removed, by a list of models that does not have it."""

from __future__ import annotations

from typing import Any

import pytest

from page_tab import Tab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: What the form shows: the model of the select, that of the form, and how many fields it has.
SHOWN = """() => {
  const create = document.querySelector("octabox-create");
  return [document.querySelector("select[name=model]").value, create.model, create.fields.length > 0];
}"""


def replace_models(tab: Tab, name: str) -> None:
    """Give the one model of the list another name."""

    def answer(route: Any) -> None:
        found = route.fetch().json()
        (model,) = [each for each in found["data"] if each["id"] == "demo"]
        route.fulfill(json={**found, "data": [{**model, "id": name}]})

    tab.page.unroute("**/v1/models")
    tab.page.route("**/v1/models", answer)
    tab.page.evaluate(
        "() => document.querySelector('main').dispatchEvent(new CustomEvent('models-changed', { bubbles: true }))"
    )


def test_a_model_that_is_removed_while_its_form_is_open(tab: Tab) -> None:
    """The select still shows it, and a line says that it is gone; the only other one can be chosen."""
    replace_models(tab, "other")
    tab.page.wait_for_selector("text=demo is not in the list of models any more.")
    assert ["demo", "demo", True] == tab.page.evaluate(SHOWN)
    replace_models(tab, "demo")
    tab.page.wait_for_selector("text=demo is not in the list of models any more.", state="detached")
    assert ["demo", "demo", True] == tab.page.evaluate(SHOWN)

    replace_models(tab, "other")
    tab.page.wait_for_selector("select[name=model] option[value=other]", state="attached")
    tab.page.select_option("select[name=model]", "other")
    tab.until("() => document.querySelector('octabox-create').model === 'other'")


def test_the_bookmark_of_a_model_that_is_removed(tab: Tab) -> None:
    """It says that there is none, and shows no other one in its place; another is chosen as always."""
    tab.page.goto("about:blank")
    tab.page.goto(f"{tab.url}/#/create?model=gone")
    tab.page.wait_for_selector("octabox-create [role=alert]:has-text('gone')")
    assert ["gone", "gone", False] == tab.page.evaluate(SHOWN)
    tab.page.select_option("select[name=model]", "demo")
    tab.page.wait_for_selector("octabox-create button.primary:not([disabled])")

    assert ["demo", "demo", True] == tab.page.evaluate(SHOWN)
    assert not tab.page.locator("octabox-create [role=alert]").count()
