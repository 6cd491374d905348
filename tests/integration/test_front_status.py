"""What a front says of how its instance stands: to programs, load balancers, operators, and to all of them at once."""

import asyncio
import dataclasses
import hashlib
import json
import re
import time
from base64 import b64encode
from contextlib import asynccontextmanager
from html.parser import HTMLParser

import httpx
import pytest

from strongroom.enclave.vault import build_vault
from strongroom.host.backup.notes import BackupNote, VerifyNote, write_note
from strongroom.host.front import status as front_status
from strongroom.host.front.about import About, Lease, database_place
from strongroom.host.front.http import Front
from strongroom.protocol.errors import Number
from strongroom.protocol.link import Operation
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.status import decode_status, encode_status
from tests.support import standing
from tests.support.world import Instance, Platform

VIEWS = ("/v1/status", "/v1/ready", "/status")


class Enclave:
    """Says of itself what it is told to say; `hang`: nothing, for now."""

    def __init__(self, status=standing.SERVING):
        self.answer = (Operation.OK, encode_status(status))
        self.asked = 0
        self.hangs = False
        self.hanging = []

    def ask(self, operation, body, answered):
        assert (operation, body) == (Operation.STATUS, b"")
        self.asked += 1
        if self.hangs:
            self.hanging.append(answered)
        else:
            asyncio.get_running_loop().call_soon(answered, *self.answer)


class Client(httpx.AsyncClient):
    """Of a front in this process."""

    front: Front


@asynccontextmanager
async def running(enclave, about=None):
    front = Front(enclave.ask, about=about)
    url = await front.listen("127.0.0.1", 0)
    limits = httpx.Limits(max_connections=200)
    try:
        async with Client(base_url=url, trust_env=False, timeout=20, limits=limits) as client:
            client.front = front
            yield client
    finally:
        await front.drain(0)


class Page(HTMLParser):
    """What a browser would make of it: elements, attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


async def test_programs_are_told_what_the_enclave_says_and_what_the_host_says_of_itself(tmp_path):
    engine, where = database_place(tmp_path, None)
    async with running(Enclave(), About(engine=engine, where=where, data=tmp_path)) as client:
        answer = await client.get("/v1/status")
        said = answer.json()
        host = said.pop("host")
        assert answer.status_code == 200
        assert decode_status(json.dumps(said).encode()) == standing.SERVING
        assert host["url"] == str(client.base_url).rstrip("/")
        assert (host["engine"], host["where"]) == ("SQLite", str(tmp_path))
        assert host["uptime"] >= 0
        assert [host[name] for name in ("backup", "verify", "drill", "lease")] == [None] * 4


async def test_the_last_backup_is_told_and_shown(tmp_path):
    write_note(tmp_path, BackupNote(standing.NOW, "/backups/today", "full", 5 << 20, 1234, 99))
    write_note(tmp_path, VerifyNote(standing.NOW, "/backups/today", False, standing.NOW, 99))
    async with running(Enclave(), About(data=tmp_path)) as client:
        host = (await client.get("/v1/status")).json()["host"]
        assert (host["backup"]["path"], host["verify"]["holds"]) == ("/backups/today", False)
        page = Page((await client.get("/status")).text)
        assert "full, 5.0 MiB, 1,234 rows: /backups/today" in page.text
        assert "DOES NOT HOLD" in page.text


async def test_where_there_is_no_backup_the_page_says_how_to_make_one(tmp_path):
    async with running(Enclave(), About(data=tmp_path)) as client:
        assert "Last backup none yet: docs/howto/backup.md" in Page((await client.get("/status")).text).text


async def test_the_page_says_that_a_drill_is_one_and_what_comes_after_it(tmp_path):
    for state, words in (("drilling", "Drill Custodians try out"), ("drilled", "Then end this, and destroy the copy")):
        async with running(Enclave(standing.changed(state=state)), About(data=tmp_path)) as client:
            assert words in Page((await client.get("/status")).text).text


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (standing.SERVING, 200),
        (standing.FOUNDING, 503),
        (standing.RECOVERING, 503),
        (standing.GAP, 503),
        (standing.changed(state="standing-by"), 503),
        (standing.changed(state="joining"), 503),
        (standing.changed(state="drilled"), 503),
    ],
)
async def test_only_an_instance_that_serves_is_ready_and_says_its_state(status, expected):
    async with running(Enclave(status)) as client:
        answer = await client.get("/v1/ready")
        assert (answer.status_code, answer.text) == (expected, f"{status.state}\n")


async def test_who_lost_the_lease_is_not_ready_whatever_its_enclave_thinks():
    lease = Lease(held=False, holder="http://other:8443", until=standing.NOW)
    async with running(Enclave(), About(lease=lambda: lease)) as client:
        answer = await client.get("/v1/ready")
        assert (answer.status_code, answer.text) == (503, "standing-by\n")
        page = Page((await client.get("/status")).text)
        assert "Who writes it http://other:8443, until 2027-01-15" in page.text


async def test_a_front_that_drains_is_not_ready():
    async with running(Enclave()) as client:
        assert (await client.get("/v1/ready")).status_code == 200
        client.front.draining = client.front.status.draining = True
        answer = await client.get("/v1/ready")
        assert (answer.status_code, answer.text) == (503, "stopping\n")


async def test_an_enclave_that_is_not_started_is_said_to_start():
    enclave = Enclave()
    enclave.answer = (Operation.ERROR, int(Number.BUSY).to_bytes(2, "big"))
    async with running(enclave) as client:
        assert (await client.get("/v1/ready")).text == "starting\n"
        answer = await client.get("/v1/status")
        assert (answer.status_code, answer.json()["state"]) == (200, "starting")
        assert Page((await client.get("/status")).text).text.count("Starting") == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", encode_status(standing.SERVING).replace(b"serving", b"<b>")])
async def test_an_enclave_that_talks_nonsense_is_not_ready_and_nothing_of_it_is_shown(body):
    enclave = Enclave()
    enclave.answer = (Operation.OK, body)
    async with running(enclave) as client:
        assert (await client.get("/v1/ready")).status_code == 503
        assert (await client.get("/v1/status")).json()["state"] == "no-answer"
        assert "No answer" in Page((await client.get("/status")).text).text


async def test_a_flood_of_questions_puts_one_a_second_to_the_enclave():
    enclave = Enclave()
    async with running(enclave) as client:
        began = time.monotonic()
        for _ in range(4):
            answers = await asyncio.gather(*(client.get(VIEWS[number % 3]) for number in range(50)))
            assert {answer.status_code for answer in answers} == {200}
        assert enclave.asked <= 1 + (time.monotonic() - began) / front_status.FRESH_SECONDS
        asked = enclave.asked
        await asyncio.sleep(front_status.FRESH_SECONDS)
        await client.get("/v1/status")
        assert enclave.asked == asked + 1


async def test_an_enclave_that_hangs_is_given_up_for_all_and_not_asked_again_and_again(monkeypatch):
    monkeypatch.setattr(front_status, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(front_status, "FRESH_SECONDS", 0.1)
    enclave = Enclave()
    enclave.hangs = True
    async with running(enclave) as client:
        for _ in range(3):
            answers = await asyncio.gather(*(client.get("/v1/ready") for _ in range(30)))
            assert {(answer.status_code, answer.text) for answer in answers} == {(503, "no-answer\n")}
            await asyncio.sleep(0.15)
        assert enclave.asked == 1
        assert client.front.status._waiting == []
        enclave.hangs = False
        enclave.hanging.pop()(*enclave.answer)  # late, and then everything is well again
        await asyncio.sleep(0.15)
        assert (await client.get("/v1/ready")).text == "serving\n"


async def test_who_hangs_up_while_the_enclave_is_asked_costs_nothing():
    enclave = Enclave()
    enclave.hangs = True
    async with running(enclave) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/status", timeout=0.2)
        enclave.hanging.pop()(*enclave.answer)
        assert (await client.get("/v1/ready")).status_code == 200
        assert client.front.calls == 0


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (standing.FOUNDING, "Custodians accept: 1 of 3 have. Waiting for Bob and Cleo."),
        (standing.RECOVERING, "1 of the 2 shares that it takes are here; 1 more"),
        (standing.GAP, "Custodians give up 12,245 lines of the log: 1 of the 2 that it takes have signed"),
        (standing.SERVING, "4,200 of about 10,000 rows looked at since the current epoch began (42 %)"),
        (standing.changed(development=True), "whoever runs this machine can read everything"),
        (standing.changed(witnesses=0), "none: an older copy of the whole database is noticed by clients alone"),
    ],
)
async def test_the_page_says_in_words_how_it_stands_and_what_comes_next(status, expected):
    async with running(Enclave(status)) as client:
        assert expected in Page((await client.get("/status")).text).text


async def test_the_page_says_that_a_council_waits_for_those_in_office_too():
    forming = standing.changed(pending=[standing.SERVING.custodians[0]], endorsements=2)
    async with running(Enclave(forming)) as client:
        assert "2 of those in office to endorse it" in (await client.get("/status")).text
    async with running(Enclave(standing.SERVING)) as client:
        assert "to endorse it" not in (await client.get("/status")).text


async def test_a_label_is_text_on_the_page_whatever_it_holds():
    async with running(Enclave(standing.HOSTILE_LABELS)) as client:
        plain = Page((await client.get("/status")).text)
    async with running(Enclave(standing.changed(pending=[standing.SERVING.custodians[0]]))) as client:
        honest = Page((await client.get("/status")).text)
    assert {"script", "img"}.isdisjoint(plain.elements)
    assert set(plain.elements) <= set(honest.elements)
    assert not [name for name, _ in plain.attributes if name.startswith("on")]
    assert plain.text.count("<script>alert(1)</script>") >= 8
    assert "\u202e" not in plain.text
    assert "\x1b" not in plain.text


async def test_a_label_in_the_ring_of_a_database_is_text_on_the_page(tmp_path):
    """From the sealed row through the enclave to the page."""

    class Labelled(Platform):
        def sealing_key(self):
            return dataclasses.replace(super().sealing_key(), label=standing.HOSTILE)

    vault = Instance("vault", tmp_path, build_vault, SigningKey.generate().public)
    vault.platform = Labelled("vault", tmp_path)
    await vault.start()
    tasks = set()

    def ask(operation, body, answered):
        async def call():
            answered(Operation.OK, await vault.enclave.handle(operation, body))

        tasks.add(asyncio.create_task(call()))

    enclave = Enclave()
    enclave.ask = ask  # type: ignore[method-assign]
    async with running(enclave) as client:
        page = Page((await client.get("/status")).text)
    assert {"script", "img"}.isdisjoint(page.elements)
    assert "<img src=x onerror=alert(1)>" in page.text


async def test_the_page_runs_nothing_fetches_nothing_and_sends_nothing():
    async with running(Enclave()) as client:
        answer = await client.get("/status")
    policy = answer.headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page = Page(answer.text)
    assert {"script", "form", "iframe", "link", "object", "img"}.isdisjoint(page.elements)
    assert [value for name, value in page.attributes if name in ("src", "href", "style")] == ["/status"]
    assert "url(" not in style
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", VIEWS)
async def test_no_other_page_may_read_how_an_instance_stands(path):
    async with running(Enclave()) as client:
        answer = await client.get(path, headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", VIEWS)
async def test_it_can_only_be_read(path):
    async with running(Enclave()) as client:
        assert (await client.post(path, content=b"")).status_code == 405


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann:secret@db.example/strongroom?password=secret&sslmode=verify-full", "db.example/strongroom"),
        ("postgresql://ann:secret@one:5432,two:6432/x", "one, two:6432/x"),
        ("postgresql:///x?host=/run/secret", "a local socket/x"),
        ("postgresql://ann:secret@[half/x", "(an address that does not parse)"),
    ],
)
def test_the_place_of_a_database_never_holds_a_password(tmp_path, url, expected):
    engine, where = database_place(tmp_path, url)
    assert (engine, where) == ("PostgreSQL", expected)
    assert "secret" not in where
