"""What a reload of the page, another tab, and the jobs of another client leave of what was made and asked for."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from makers.samples import content
from page_tab import PATIENCE, Tab, watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: The sources of the images in the table of a grid, which have been loaded.
CELLS = "[...document.querySelectorAll('table.plot img')].filter((each) => each.naturalWidth).map((each) => each.src)"


def post(tab: Tab, path: str, **body: Any) -> Any:
    """Send a request of another client, and return its response."""
    response = httpx.post(f"{tab.url}/v1/{path}", json=body, trust_env=False, timeout=PATIENCE)
    assert response.is_success, response.text
    return response.json()


def test_a_grid_is_there_again_after_a_reload(tab: Tab) -> None:
    """Its axes and its table, also of cells that wait or run, and in a tab that is opened later; what was deleted is said."""
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.fill("#field-num_inference_steps", "40")
    tab.page.click("nav >> text=Grid")
    tab.page.select_option("select[name=axis-x]", "guidance_scale")
    tab.page.fill("input[name=values-x]", "1, 3")
    tab.page.select_option("select[name=axis-y]", "words in the prompt")
    tab.page.fill("input[name=values-y]", "circle, star")
    with tab.page.expect_response("**/v1/jobs") as sent:
        tab.page.click("text=Generate grid")
    jobs = [each["id"] for each in sent.value.json()["data"]]
    tab.page.wait_for_timeout(200)
    tab.page.reload()

    tab.page.wait_for_selector("table.plot")
    assert ["1, 3", "circle, star"] == [tab.page.input_value(f"input[name=values-{axis}]") for axis in "xy"]
    assert ["1", "3"] == [each for each in tab.page.locator("table.plot thead th").all_inner_texts() if each]
    images = tab.until(f"{CELLS}.length === 4 && {CELLS}")
    tab.until("document.querySelector('select[name=axis-y]').value === 'words in the prompt'")
    tab.page.wait_for_selector("text=Save as one image")
    # The form is as it was, too; that of a new tab is as it is when the page is opened.
    assert 0 == tab.page.locator("octabox-grid:has-text('is not in the prompt')").count()

    httpx.delete(f"{tab.url}/v1/jobs/{jobs[3]}", trust_env=False)
    other = watch(tab.page.context.new_page(), tab.url)
    other.open("grid")
    assert images[:3] == other.until(f"{CELLS}.length === 3 && {CELLS}")
    other.page.wait_for_selector("table.plot td:has-text('does not keep this output')")
    other.page.wait_for_selector("octabox-grid:has-text('is not in the prompt')")
    assert [] == other.problems


def test_a_grid_of_one_cell_is_there_again(tab: Tab) -> None:
    """Its request was sent alone, in no batch."""
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.fill("#field-num_inference_steps", "3")
    tab.page.click("nav >> text=Grid")
    tab.page.click("text=Generate grid")
    images = tab.until(f"{CELLS}.length === 1 && {CELLS}")
    tab.page.reload()

    assert images == tab.until(f"{CELLS}.length === 1 && {CELLS}")


def test_a_grid_that_is_opened_first_has_the_parameters(tab: Tab) -> None:
    """The form of Create, of which it varies them, is read while the grid is shown already."""
    tab.open("grid")
    tab.page.reload()
    tab.page.wait_for_selector("select[name=axis-x] option:text-is('guidance_scale')", state="attached")
    tab.page.wait_for_selector("button:text-is('Generate grid'):not([disabled])")


def test_a_job_of_another_client_is_edited_as_a_whole(tab: Tab) -> None:
    """Its priority is sent again, and its task is the one that its inputs select; its file is asked for."""
    tab.open("queue")
    post(tab, "jobs/pause")
    image = f"data:image/png;base64,{base64.b64encode(content('image')).decode()}"
    params = {"prompt": "a red circle", "image": image, "strength": 0.5}
    job = post(tab, "jobs", model="demo", params=params, priority=3, deterministic=True)
    item = tab.page.locator("ol.jobs > li:has-text('a red circle')")
    item.wait_for()
    post(tab, f"jobs/{job['id']}/cancel")
    post(tab, "jobs/resume")
    tab.page.wait_for_selector("li[data-state=cancelled]")
    item.locator("button:text-is('Edit')").click()

    tab.page.wait_for_selector("octabox-create .extra:has-text('deterministic true'):has-text('priority 3')")
    tab.until("document.querySelector('octabox-create').task === 'image-to-image'")
    assert "0.5" == tab.page.input_value("#field-strength")
    tab.page.wait_for_selector("[data-control=image] .note:has-text('Set this again')")
    assert 0 == tab.page.locator("octabox-create .note:has-text('Not used')").count()
    file = {"name": "a.png", "mimeType": "image/png", "buffer": content("image")}
    tab.page.set_input_files("[data-control=image] input[type=file]", file)
    tab.page.wait_for_selector("[data-control=image] .medium img")
    with tab.page.expect_request("**/v1/jobs") as sent:
        tab.make()
    body = sent.value.post_data_json
    assert (3, True, "image-to-image") == (body["priority"], body["deterministic"], body["task"])


def test_a_job_that_was_cancelled_is_there_after_a_reload(tab: Tab) -> None:
    """It is run again from the queue; what is cleared away does not come back."""
    post(tab, "jobs/pause")
    job = post(tab, "jobs", model="demo", params={"prompt": "a purple heart", "num_inference_steps": 3})
    post(tab, f"jobs/{job['id']}/cancel")
    post(tab, "jobs/resume")
    tab.open("queue")
    item = tab.page.locator("li[data-state=cancelled]:has-text('a purple heart')")
    item.wait_for()
    tab.page.click("text=Clear finished")
    item.wait_for(state="detached")
    tab.page.reload()
    with tab.page.expect_response("**/v1/jobs?status=failed*"):
        pass
    tab.page.wait_for_timeout(300)
    assert 0 == item.count()

    tab.page.evaluate("localStorage.removeItem('octabox-cleared')")
    tab.page.reload()
    item.locator("button:text-is('Retry')").click()
    tab.page.wait_for_selector("li[data-state=completed]:has-text('a purple heart')", timeout=PATIENCE)
