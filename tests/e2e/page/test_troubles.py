"""The page with many jobs, over a reload, and where the server refuses something or answers late."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from page_tab import PATIENCE, Tab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run_long(tab: Tab, prompt: str = "a red circle") -> None:
    """Send a request that runs until it is cancelled, and wait until it runs."""
    tab.page.fill("#field-prompt", prompt)
    tab.page.fill("#field-num_inference_steps", "900")
    tab.send()
    tab.page.wait_for_selector("octabox-create .result[data-state=in_progress]", timeout=PATIENCE)


def test_many_jobs_that_wait_leave_the_page_its_connections(tab: Tab) -> None:
    """A browser has six connections to a server: with eight jobs the last is still cancelled, and others are shown."""
    run_long(tab)
    for _ in range(7):
        tab.send()
    tab.page.click("nav >> text=Queue")
    tab.page.locator("li[data-state=queued]").nth(6).wait_for()
    tab.page.locator("li[data-state=queued] button:text-is('Cancel')").last.click()
    tab.page.wait_for_selector("li[data-state=cancelled]")

    request = {"model": "demo", "params": {"prompt": "from another client"}}
    other = httpx.post(f"{tab.url}/v1/jobs", json=request, trust_env=False, timeout=PATIENCE).json()["id"]
    tab.page.wait_for_selector("li[data-state=queued]:has-text('from another client')")
    httpx.post(f"{tab.url}/v1/jobs/{other}/cancel", trust_env=False, timeout=PATIENCE)
    tab.page.wait_for_selector("li[data-state=cancelled]:has-text('from another client')")
    waiting = httpx.get(f"{tab.url}/v1/jobs?status=queued,in_progress", trust_env=False, timeout=PATIENCE).json()[
        "data"
    ]
    for job in waiting:
        httpx.post(f"{tab.url}/v1/jobs/{job['id']}/cancel", trust_env=False, timeout=PATIENCE)
    tab.page.wait_for_selector("text=Nothing waits.")


def test_a_request_that_is_refused_while_another_runs(tab: Tab) -> None:
    """The error is at its field at once, though the first request is still shown."""
    run_long(tab)
    tab.page.fill("#field-num_inference_steps", "0")
    tab.send()
    tab.page.wait_for_selector("#field-num_inference_steps-note")
    assert "in_progress" == tab.page.get_attribute("octabox-create .result", "data-state")
    tab.page.keyboard.press("Escape")
    tab.page.wait_for_selector("octabox-create .result[data-state=cancelled]", timeout=PATIENCE)


def test_a_request_that_waits_for_a_paused_queue(tab: Tab) -> None:
    """The result says why it waits, until the queue is resumed."""
    httpx.post(f"{tab.url}/v1/jobs/pause", trust_env=False, timeout=PATIENCE)
    tab.page.fill("#field-prompt", "a red circle")
    tab.page.fill("#field-num_inference_steps", "3")
    tab.send()
    tab.page.wait_for_selector("octabox-create .result:has-text('The queue is paused.')")
    httpx.post(f"{tab.url}/v1/jobs/resume", trust_env=False, timeout=PATIENCE)
    tab.page.wait_for_selector("octabox-create .result[data-state=completed]", timeout=PATIENCE)
    assert "paused" not in tab.page.inner_text("octabox-create .result")


def test_a_job_from_before_a_reload_is_edited_and_retried(tab: Tab) -> None:
    """The queue has its words, Retry runs it again on the server, and Edit has its parameters."""
    run_long(tab, "a red circle of before")
    tab.page.reload()
    tab.page.click("nav >> text=Queue")
    job = tab.page.locator("li:has-text('a red circle of before')")
    job.locator("button:text-is('Cancel')").click()
    tab.page.wait_for_selector("li[data-state=cancelled]", timeout=PATIENCE)
    with tab.page.expect_request("**/retry"):
        job.locator("button:text-is('Retry')").click()
    job.locator("button:text-is('Cancel')").click()
    tab.page.wait_for_selector("li[data-state=cancelled]", timeout=PATIENCE)
    job.locator("button:text-is('Edit')").click()
    tab.until("document.querySelector('#field-prompt').value === 'a red circle of before'")
    assert "900" == tab.page.input_value("#field-num_inference_steps")


def test_what_the_server_refuses_is_said(tab: Tab) -> None:
    """A pause, the list of outputs, and a server that is not ready say why."""

    def refuse(route: Any) -> None:
        route.fulfill(status=403, body=json.dumps({"error": {"message": "Only for administrators."}}))

    tab.page.route("**/v1/jobs/pause", refuse)
    tab.page.click("nav >> text=Queue")
    tab.page.click("text=Pause the queue")
    tab.page.wait_for_selector("octabox-queue .error:has-text('Only for administrators.')")

    tab.page.route("**/v1/jobs?status=completed*", refuse)
    tab.page.click("nav >> text=Gallery")
    tab.page.wait_for_selector("octabox-gallery .error:has-text('Only for administrators.')")
    assert 0 == tab.page.locator("text=Nothing has been made yet.").count()

    body = json.dumps({"status": "failed", "failures": {"big": "It is too large."}})
    tab.page.route("**/readyz", lambda route: route.fulfill(status=503, body=body))
    tab.page.click("nav >> text=System")
    tab.page.wait_for_selector("octabox-system .tile:has-text('could not load a model'):has-text('It is too large.')")
    tab.problems = [each for each in tab.problems if "503" not in each]


def test_the_hub_is_back_with_its_server(tab: Tab) -> None:
    """One look that fails does not remove the Hub."""
    tab.page.route("**/v1/hub/pulls", lambda route: route.fulfill(status=502, body="a proxy"))
    tab.page.click("nav >> text=Models")
    tab.page.wait_for_selector("octabox-hub .error")
    assert 1 == tab.page.locator("octabox-hub input[name=hub-words]").count()
    tab.page.unroute("**/v1/hub/pulls")
    tab.page.wait_for_selector("octabox-hub .error", state="detached")
    tab.problems = [each for each in tab.problems if "502" not in each]


def test_the_address_is_that_of_the_screen(tab: Tab) -> None:
    """A model that is chosen while another screen is open does not change the address; of two choices the last one counts."""
    tab.open("gallery")
    tab.page.reload()
    tab.page.wait_for_selector("octabox-create[hidden] button.primary:not([disabled])", state="attached")
    assert tab.page.url.endswith("#/gallery")

    schema = httpx.get(f"{tab.url}/v1/models/demo/schema", trust_env=False, timeout=PATIENCE).json()
    late: list[Any] = []

    def hold(route: Any) -> None:
        late.append(route)

    tab.page.route("**/v1/models/late/schema*", hold)
    create = "document.querySelector('octabox-create')"
    tab.page.evaluate(f"() => {{ {create}.choose('late'); {create}.choose('demo'); }}")
    tab.until(f"{create}.fields.length > 0 && {create}.tasks.length > 0")
    late[0].fulfill(status=200, body=json.dumps({**schema, "properties": {}}))
    tab.page.wait_for_timeout(500)
    assert ["demo", True] == tab.page.evaluate(f"[{create}.model, {create}.fields.length > 0]")


def test_a_lora_of_another_model_is_left_out(tab: Tab) -> None:
    """One that does not fit the chosen model is not sent, which is said."""
    tab.page.click("summary:has-text('Adapters')")
    tab.page.check(".adapter:has-text('hearts') input[type=checkbox]")
    unfit = {"data": [{"name": "hearts", "kind": "lora", "fits": False}]}
    tab.page.route("**/v1/adapters?*", lambda route: route.fulfill(status=200, body=json.dumps(unfit)))
    tab.page.evaluate("document.querySelector('octabox-create').choose('demo')")
    tab.page.wait_for_selector("octabox-create .note:has-text('hearts')")
    with tab.page.expect_request("**/v1/jobs") as sent:
        tab.make("a red circle", num_inference_steps=2)
    assert "adapters" not in sent.value.post_data_json


@pytest.mark.parametrize(
    "storage",
    [
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });",
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };",
    ],
    ids=["blocked", "full"],
)
def test_a_browser_that_stores_nothing_makes_images(tab: Tab, storage: str) -> None:
    """The page works without storage, and remembers prompts and the key until it is closed."""
    tab.page.add_init_script(storage)
    tab.page.reload()
    tab.open()
    tab.make("a red circle", num_inference_steps=2)
    assert "completed" == tab.page.get_attribute("octabox-create .result", "data-state")
    tab.page.fill("#field-prompt", "")
    tab.page.focus("#field-prompt")
    tab.page.keyboard.press("Alt+ArrowUp")
    tab.until("document.querySelector('#field-prompt').value === 'a red circle'")

    tab.page.click("nav >> text=System")
    tab.page.fill("octabox-system input[name=key]", "secret")
    with tab.page.expect_request(lambda request: request.headers.get("authorization") == "Bearer secret"):
        tab.page.click("octabox-system form.key button")
    tab.page.wait_for_selector("octabox-system input[name=key]")
    assert "secret" == tab.page.input_value("octabox-system input[name=key]")
