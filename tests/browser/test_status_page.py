"""The operators' page in a real browser: readable by all, on a phone and at night, and nothing in it comes alive."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from strongroom.host.front.http import Front
from strongroom.protocol.link import Operation
from strongroom.protocol.status import encode_status
from tests.browser.looks import faults
from tests.support import standing


@contextmanager
def served(status):
    """A front before an enclave that stands so: its URL."""

    def ask(operation, body, answered):
        answered(Operation.OK, encode_status(status))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listening():
        front = Front(ask)
        return front, await front.listen("127.0.0.1", 0)

    front, url = asyncio.run_coroutine_threadsafe(listening(), loop).result(10)
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(front.drain(0), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def page(chromium):
    # axe is put into the page by the test, which the page's own policy would not let happen.
    context = chromium.new_context(bypass_csp=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("state", ["SERVING", "FOUNDING", "RECOVERING", "GAP", "HOSTILE_LABELS"])
def test_it_can_be_read_on_phone_and_desk_by_day_and_night(page, state):
    with served(getattr(standing, state)) as url:
        page.goto(f"{url}/status")
        assert faults(page) == []


def test_its_style_is_let_in_by_its_policy_and_no_label_comes_alive(chromium):
    context = chromium.new_context()
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    with served(standing.HOSTILE_LABELS) as url:
        page.goto(f"{url}/status")
        assert page.evaluate("getComputedStyle(document.querySelector('section')).borderRadius") == "14px"
        assert page.locator("script, img").count() == 0
        page.get_by_role("link", name="Look again").click()
        page.wait_for_url(f"{url}/status")
    assert said == []
    assert {one for one in asked if not one.endswith("/favicon.ico")} == {f"{url}/status"}
    context.close()
