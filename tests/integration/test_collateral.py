"""The collateral service against servers that speak the makers' formats, and fail in every way that servers fail."""

import asyncio
import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.snp import verify_snp_report
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.enclave.platform.synthetic_quote import EnclaveReport, synthetic_quote
from strongroom.host.collateral import sources
from strongroom.host.collateral.cache import Cache
from strongroom.host.collateral.service import CollateralService
from strongroom.host.collateral.table import read_table
from strongroom.protocol.errors import Number, Unavailable
from tests.support import pccs
from tests.support.evidence import NOW, pki
from tests.support.fake_sev_guest import GUIDS, table
from tests.support.pccs import LocalSource, always, amd_pages, intel_pages
from tests.support.synthetic_snp import amd
from tests.support.synthetic_tdx import TdxPki, tdx_quote

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT.parent / "shared" / "vectors"
DAY = 86400
QUOTE = synthetic_quote(pki(), EnclaveReport(bytes(32), bytes(32), 1, 1, bytes(64)))
TCB = "/sgx/certification/v4/tcb"
ROOT_CRL = "/sgx/certification/v4/rootcacrl"


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def collateral(at=NOW, number=1, **tcb_info):
    """Signed under the synthetic root, as of `at`."""
    tcb = pki().tcb_info(at) | {"tcbEvaluationDataNumber": number} | tcb_info
    qe = pki().qe_identity(at) | {"tcbEvaluationDataNumber": number}
    return pki().signed_collateral(tcb, qe, at)


def number_in(answer):
    return json.loads(json.loads(answer)["tcb_info"])["tcbEvaluationDataNumber"]


def issued_in(answer):
    return json.loads(json.loads(answer)["tcb_info"])["issueDate"]


async def refused(work):
    with pytest.raises(Unavailable) as caught:
        await work
    assert caught.value.number is Number.COLLATERAL_UNAVAILABLE
    return caught.value.reason


async def settled():
    """Renewals beside an answer have come to their end."""
    renewals = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == "_fetch"]
    if renewals:
        await asyncio.wait(renewals)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def source():
    async with LocalSource(intel_pages(collateral(), "sgx")) as source:
        yield source


@pytest.fixture
async def make(tmp_path, clock):
    """Services over one cache, closed afterwards."""
    made = []

    def make(*addresses, cache=tmp_path / "cache"):
        made.append(CollateralService(addresses, cache, now=clock))
        return made[-1]

    yield make
    for service in made:
        await service.close()


# --- what comes out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["pcs", "pccs"])
async def test_what_is_fetched_for_a_quote_verifies_with_it(make, source, style):
    root_crl = source.pages[ROOT_CRL]  # Intel has it at an address of its own
    source.pages = intel_pages(collateral(), "sgx", style=style)
    source.pages[ROOT_CRL] = root_crl
    answer = await make(source.url).fetch("sgx", QUOTE)
    verify_sgx_quote(QUOTE, answer, pki().root_der, NOW)
    assert len(source.requests) == 4


@pytest.mark.needs("shared")
@pytest.mark.parametrize(
    "name",
    [
        "sgx/dcap-qvl-sgx-quote-f8b81014-at202507-eval17",
        "sgx/automata-dcap-attestation-quotev3-c81a90ee-at202508-eval17",
        "tdx/trustee-tdx-quote-6-62657e59-at202603-eval18",
        "tdx/go-tdx-guest-quote-v5-sample-cf77a6e9-at202606-eval19",
    ],
)
async def test_real_collateral_comes_out_byte_for_byte(make, source, clock, name):
    vector = next(vector for vector in json.loads((VECTORS / "index.json").read_text()) if vector["name"] == name)
    clock.at = vector["now"]
    expected = (VECTORS / vector["collateral"]).read_bytes()
    source.pages = intel_pages(expected, name[:3])
    answer = await make(source.url).fetch(name[:3], (VECTORS / vector["quote"]).read_bytes())
    assert json.loads(answer) == json.loads(expected)


async def test_the_path_that_intels_configuration_files_give_is_understood(make, source):
    assert await make(f"{source.url}/sgx/certification/v4/").fetch("sgx", QUOTE)


@pytest.mark.parametrize("version", [4, 5])
async def test_what_is_fetched_for_a_tdx_quote_verifies_with_it(make, source, version):
    tdx = TdxPki(bytes(32), NOW - 1000)
    quote = tdx_quote(tdx, version=version)
    source.pages = intel_pages(tdx.collateral(NOW), "tdx")
    verify_tdx_quote(quote, await make(source.url).fetch("tdx", quote), tdx.root_der, NOW)
    assert source.asked("/tdx/certification/v4/") == 2


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
async def test_what_is_fetched_for_an_snp_report_verifies_with_it(make, product):
    chip = amd(product)
    async with LocalSource(amd_pages(chip, at=NOW)) as source:
        answer = await make(source.url).fetch("snp", chip.report())
    assert verify_snp_report(chip.report(), answer, NOW, chains=chip.chains).crl_checked
    assert len(source.requests) == 3


async def test_a_report_that_does_not_name_its_product_is_found_and_not_searched_again(make, clock):
    chip = amd("Genoa")
    async with LocalSource(amd_pages(chip, at=NOW)) as source:
        service = make(source.url)
        first = await service.fetch("snp", chip.report(version=2))
        asked = len(source.requests)
        clock.at += 3600
        assert await service.fetch("snp", chip.report(version=2)) == first
        assert await make(source.url).fetch("snp", chip.report(version=2)) == first
        assert source.asked("/vcek/v1/Milan") == 1
        assert len(source.requests) == asked


def der(certificate):
    return certificate.public_bytes(Encoding.DER)


async def test_a_report_under_a_providers_key_needs_the_providers_certificate(make):
    chip = amd("Milan")
    report = chip.report("vlek")
    async with LocalSource(amd_pages(chip, at=NOW)) as source:
        service = make(source.url)
        assert "VLEK" in await refused(service.fetch("snp", report))
        assert source.requests == []
        answer = await service.fetch("snp", report, table(("VLEK", der(chip.leaf("vlek")))))
        assert verify_snp_report(report, answer, NOW, chains=chip.chains).crl_checked
        assert sorted(source.requests) == ["/vlek/v1/Milan/cert_chain", "/vlek/v1/Milan/crl"]
        for wrong in (der(chip.leaf()), b"-----BEGIN", bytes(2000)):
            assert "the provider's certificate" in await refused(service.fetch("snp", report, table(("VLEK", wrong))))
        for none in (b"", table(("VLEK", b"")), table(("VCEK", der(chip.leaf())))):
            assert "AMD does not serve it" in await refused(service.fetch("snp", report, none))


async def test_certificates_of_the_hypervisor_stand_in_where_amd_cannot_be_asked(make):
    chip = amd("Genoa")
    report = chip.report()
    whole = [("VCEK", der(chip.leaf())), ("ASK", der(chip.ask)), ("ARK", der(chip.ark))]
    async with LocalSource({}) as source:
        answer = await make(source.url).fetch("snp", report, table(*whole))
        assert not verify_snp_report(report, answer, NOW, chains=chip.chains).crl_checked
        with_list = table(*whole, ("CRL", chip.crl().public_bytes(Encoding.DER)))
        answer = await make(source.url).fetch("snp", report, with_list)
        assert verify_snp_report(report, answer, NOW, chains=chip.chains).crl_checked
        for left_out in range(3):
            part = table(*(one for at, one in enumerate(whole) if at != left_out))
            await refused(make(source.url).fetch("snp", report, part))


async def test_amds_own_certificates_are_preferred(make):
    """A hypervisor's table may be of before an update of firmware, and seldom has the list of revocations."""
    chip = amd("Genoa")
    stale = table(("VCEK", der(amd("Milan").leaf())), ("ASK", b"old"), ("ARK", b"old"))
    async with LocalSource(amd_pages(chip, at=NOW)) as source:
        answer = await make(source.url).fetch("snp", chip.report(), stale)
        assert verify_snp_report(chip.report(), answer, NOW, chains=chip.chains).crl_checked


@pytest.mark.parametrize(
    "untrusted_table",
    [b"", bytes(24), bytes.fromhex(GUIDS["VCEK"]) + b"\xff" * 8, b"\xff" * 32768, table(("VCEK", b"l"))[:-1]],
)
def test_a_table_that_is_none_holds_nothing(untrusted_table):
    assert not any(read_table(untrusted_table))


def test_of_two_certificates_of_a_kind_none_is_taken():
    found = read_table(table(("VCEK", b"l"), ("VCEK", b"m"), ("VLEK", b"n"), ("ASK", b"s"), ("ARK", b"r")))
    assert (found.vcek, found.vlek) == (b"", b"n")
    assert found.chain.count("BEGIN CERTIFICATE") == 2


async def test_platforms_without_collateral_and_quotes_that_are_none_are_refused(make, source):
    service = make(source.url)
    for kind in ("nitro", "insecure-software", "sev"):
        assert "no collateral" in await refused(service.fetch(kind, QUOTE))
    for kind, quote in (("sgx", b""), ("sgx", QUOTE[:500]), ("tdx", QUOTE), ("snp", QUOTE), ("sgx", bytes(1184))):
        await refused(service.fetch(kind, quote))
    assert source.requests == []


# --- sources that fail ------------------------------------------------------------------------------------------------

FAULTS = {
    "server error": always(500),
    "unavailable": always(503),
    "too many": always(429, retry_after="30"),
    "missing": always(404),
    "forbidden": always(403),
    "empty": always(200),
    "garbage": always(200, random.Random(7).randbytes(900)),
    "html": always(200, b"<html>sign in to the guest network</html>"),
    "nested": always(200, b"[" * 60000),
    "other JSON": always(200, b'{"tcbInfo":{},"enclaveIdentity":{},"signature":""}'),
    "compressed": always(200, b"\x1f\x8b", content_encoding="gzip"),
    "cut short": pccs.cut_short,
    "no HTTP": pccs.no_http,
    "ten megabytes": pccs.ten_megabytes,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_source_that_fails_is_passed_over(make, source, fault):
    async with LocalSource() as broken:
        broken.fault = fault
        answer = await make(broken.url, source.url).fetch("sgx", QUOTE)
    verify_sgx_quote(QUOTE, answer, pki().root_der, NOW)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_source_that_fails_alone_is_a_clear_error_and_leaves_nothing_behind(make, source, fault, clock):
    source.fault = fault
    service = make(source.url)
    assert source.url in await refused(service.fetch("sgx", QUOTE))
    source.fault = lambda target: None
    clock.at += sources.MAX_REST
    verify_sgx_quote(QUOTE, await service.fetch("sgx", QUOTE), pki().root_der, NOW)


@pytest.mark.parametrize("fault", [pccs.silent, pccs.dripping])
async def test_a_source_that_takes_for_ever_is_given_up(make, source, fault, monkeypatch):
    monkeypatch.setattr(sources, "REQUEST_SECONDS", 0.3)
    async with LocalSource() as slow:
        slow.fault = fault
        began = time.monotonic()
        assert await make(slow.url, source.url).fetch("sgx", QUOTE)
        assert time.monotonic() - began < 2


async def test_a_source_that_is_down_is_passed_over(make, source):
    gone = LocalSource()
    await gone.start()
    await gone.stop()
    assert await make(gone.url, source.url).fetch("sgx", QUOTE)


async def test_an_answer_without_end_is_dropped_where_it_is_too_long(make, source):
    sent = []

    async def endless(_):
        yield b"HTTP/1.1 200 X\r\n\r\n"
        while True:
            sent.append(65536)
            yield bytes(65536)

    source.fault = endless
    assert "longer than" in await refused(make(source.url).fetch("sgx", QUOTE))
    assert sum(sent) < 64 * 2**20  # what the system's buffers take of four connections


async def test_collateral_that_does_not_fit_into_evidence_is_refused(make, source):
    source.pages = intel_pages(collateral(padding="x" * 63000), "sgx")
    assert "fit into evidence" in await refused(make(source.url).fetch("sgx", QUOTE))


async def test_a_compressed_answer_is_not_unpacked(make, source):
    source.fault = always(200, gzip.compress(bytes(10_000_000)), content_encoding="gzip")
    assert "compressed" in await refused(make(source.url).fetch("sgx", QUOTE))


async def test_the_environment_names_no_proxies(make, source, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await make(source.url).fetch("sgx", QUOTE)


async def test_redirects_are_not_followed(make, source):
    async with LocalSource() as lure:
        lure.fault = lambda target: always(302, location=f"{source.url}{target}")(target)
        assert "redirects" in await refused(make(lure.url).fetch("sgx", QUOTE))
    assert source.requests == []


@pytest.mark.parametrize(
    ("field", "wrong", "why"),
    [
        ("fmspc", "00906ED50000", "another machine's"),
        ("id", "TDX", "another technology's"),
    ],
)
async def test_the_tcb_info_of_another_machine_is_passed_over(make, source, field, wrong, why):
    served = intel_pages(collateral(), "sgx")
    other = intel_pages(collateral(**{field: wrong}), "sgx")[TCB]
    async with LocalSource(served | {TCB: other._replace(query={})}) as confused:
        assert why in await refused(make(confused.url).fetch("sgx", QUOTE))
        answer = await make(confused.url, source.url).fetch("sgx", QUOTE)
    assert json.loads(json.loads(answer)["tcb_info"])[field] == json.loads(json.loads(collateral())["tcb_info"])[field]


@pytest.mark.parametrize("swapped", [("pckcrl", "rootcacrl"), ("rootcacrl", "pckcrl")])
async def test_a_list_of_another_authority_is_passed_over(make, source, swapped):
    page, other = (f"/sgx/certification/v4/{name}" for name in swapped)
    confused = source.pages | {page: source.pages[page]._replace(body=source.pages[other].body)}
    async with LocalSource(confused) as first:
        assert "another authority's" in await refused(make(first.url).fetch("sgx", QUOTE))
        answer = await make(first.url, source.url).fetch("sgx", QUOTE)
    verify_sgx_quote(QUOTE, answer, pki().root_der, NOW)


async def test_a_source_that_has_only_expired_collateral_is_passed_over(make, source, clock):
    clock.at = NOW + 31 * DAY
    fresh = intel_pages(collateral(NOW + 30 * DAY), "sgx")
    async with LocalSource(fresh) as second:
        answer = await make(source.url, second.url).fetch("sgx", QUOTE)
        verify_sgx_quote(QUOTE, answer, pki().root_der, int(clock.at))


# --- rest ----------------------------------------------------------------------------------------------------------


async def test_a_failing_source_is_left_alone_for_longer_each_time_but_never_for_long(make, source, clock):
    source.fault = always(500)
    service = make(source.url)
    waits = []
    for _ in range(14):
        await refused(service.fetch("sgx", QUOTE))
        asked, began = len(source.requests), clock.at
        while len(source.requests) == asked:
            clock.at += max(0.25, (clock.at - began) / 10)
            await refused(service.fetch("sgx", QUOTE))
        waits.append(clock.at - began)
    assert waits[0] <= 1.5
    assert all(later > 1.2 * earlier for earlier, later in zip(waits[:8:2], waits[2:10:2], strict=False))
    assert max(waits) <= sources.MAX_REST * 1.2
    source.fault = lambda target: None
    clock.at += sources.MAX_REST
    assert await service.fetch("sgx", QUOTE)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_source_that_says_when_to_come_back_is_obeyed(make, source, clock, status, form):
    source.fault = always(status, retry_after="120" if form == "seconds" else pccs.http_date(clock.at + 120))
    service = make(source.url)
    await refused(service.fetch("sgx", QUOTE))
    source.fault = lambda target: None
    asked = len(source.requests)
    clock.at += 119
    assert "left alone" in await refused(service.fetch("sgx", QUOTE))
    assert len(source.requests) == asked
    clock.at += 2
    assert await service.fetch("sgx", QUOTE)


@pytest.mark.parametrize("wait", ["9" * 5000, "99999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "soon", "²"])
async def test_a_source_cannot_lock_itself_out_for_ever(make, source, clock, wait):
    source.fault = always(429, retry_after=wait) if wait.isascii() else always(429, retry_after="x")
    service = make(source.url)
    await refused(service.fetch("sgx", QUOTE))
    source.fault = lambda target: None
    clock.at += sources.MAX_RETRY_AFTER + 1
    assert await service.fetch("sgx", QUOTE)


async def test_an_item_that_a_source_lacks_says_nothing_about_its_others(make, source):
    tdx = TdxPki(bytes(32), NOW - 1000)
    missing = {ROOT_CRL: source.pages.pop(ROOT_CRL)}
    async with LocalSource(missing | intel_pages(tdx.collateral(NOW), "tdx")) as second:
        source.pages |= {path: page for path, page in second.pages.items() if path.startswith("/tdx")}
        service = make(source.url, second.url)
        assert await service.fetch("sgx", QUOTE)
        assert second.requests == [ROOT_CRL]
        assert await service.fetch("tdx", tdx_quote(tdx))
        assert source.asked("/tdx") == 2


async def test_a_clock_that_is_set_back_keeps_no_source_at_rest(make, source, clock):
    source.fault = always(500)
    service = make(source.url)
    clock.at = NOW + 10 * DAY
    await refused(service.fetch("sgx", QUOTE))
    source.fault = lambda target: None
    clock.at = NOW
    assert await service.fetch("sgx", QUOTE)


# --- kept ----------------------------------------------------------------------------------------------------------


async def test_what_is_here_is_not_asked_for_again_also_after_a_restart(make, source, clock):
    service = make(source.url)
    first = await service.fetch("sgx", QUOTE)
    clock.at += 3600
    assert await service.fetch("sgx", QUOTE) == first
    assert await make(source.url).fetch("sgx", QUOTE) == first
    assert len(source.requests) == 4


async def test_while_all_sources_are_down_what_is_here_serves_until_it_expires(make, source, clock):
    service = make(source.url)
    first = await service.fetch("sgx", QUOTE)
    await source.stop()
    for days in (1, 10, 29, 29.99):
        clock.at = NOW + days * DAY
        assert await service.fetch("sgx", QUOTE) == first
        assert await make(source.url).fetch("sgx", QUOTE) == first
        await settled()
    clock.at = NOW + 30 * DAY
    await refused(service.fetch("sgx", QUOTE))
    await refused(make(source.url).fetch("sgx", QUOTE))


async def test_each_item_expires_at_its_own_time(make, source, clock):
    chip = amd("Milan")
    async with LocalSource(amd_pages(chip, at=NOW, days=3)) as kds:
        service = make(kds.url)
        await service.fetch("snp", chip.report())
        kds.fault = always(500)
        clock.at = NOW + 3 * DAY
        assert "amd-crl" in await refused(service.fetch("snp", chip.report()))
        kds.fault = lambda target: None
        clock.at += sources.MAX_REST
        kds.pages = amd_pages(chip, at=int(clock.at))
        assert await service.fetch("snp", chip.report())
        assert kds.asked("cert_chain") == kds.asked("blSPL") == 1


async def test_a_new_evaluation_arrives_within_a_day_and_delays_nobody(make, source, clock):
    service = make(source.url)
    await service.fetch("sgx", QUOTE)
    clock.at += DAY
    source.pages = intel_pages(collateral(int(clock.at), number=2), "sgx")
    held: list[asyncio.Event] = [asyncio.Event()]

    async def later(target):
        await held[0].wait()
        async for piece in source._answer(target):
            yield piece

    source.fault = later
    assert number_in(await service.fetch("sgx", QUOTE)) == 1  # answered from what is here, the source has not answered
    held[0].set()
    await settled()
    assert number_in(await service.fetch("sgx", QUOTE)) == 2
    assert number_in(await make(source.url).fetch("sgx", QUOTE)) == 2


async def test_short_lived_collateral_is_renewed_after_half_its_life(make, clock):
    chip = amd("Milan")
    async with LocalSource(amd_pages(chip, at=NOW, days=1)) as kds:
        service = make(kds.url)
        await service.fetch("snp", chip.report())
        clock.at += DAY * 0.39
        await service.fetch("snp", chip.report())
        await settled()
        assert kds.asked("crl") == 1
        clock.at += DAY * 0.12
        await service.fetch("snp", chip.report())
        await settled()
        assert kds.asked("crl") == 2
        assert kds.asked("cert_chain") == 1


async def test_an_evaluation_once_seen_is_never_taken_back(make, source, clock):
    service = make(source.url)
    source.pages = intel_pages(collateral(number=18), "sgx")
    await service.fetch("sgx", QUOTE)
    source.pages = intel_pages(collateral(NOW + DAY, number=17), "sgx")
    clock.at += DAY
    for asked in (service, make(source.url)):
        await asked.fetch("sgx", QUOTE)
        await settled()
        assert number_in(await asked.fetch("sgx", QUOTE)) == 18
    # Not even when it has expired: that a cache lags does not make a broken machine good.
    clock.at = NOW + 30 * DAY + 1
    for asked in (service, make(source.url)):
        reason = await refused(asked.fetch("sgx", QUOTE))
        assert "17 is below 18" in reason or "left alone" in reason
    async with LocalSource(intel_pages(collateral(int(clock.at), number=18), "sgx")) as second:
        assert number_in(await make(source.url, second.url).fetch("sgx", QUOTE)) == 18


async def test_an_older_statement_does_not_replace_a_newer_one(make, source, clock):
    clock.at = NOW + 5 * DAY
    source.pages = intel_pages(collateral(NOW + 4 * DAY), "sgx")
    service = make(source.url)
    first = await service.fetch("sgx", QUOTE)
    clock.at += DAY
    source.pages = intel_pages(collateral(NOW), "sgx")
    await service.fetch("sgx", QUOTE)
    await settled()
    assert issued_in(await service.fetch("sgx", QUOTE)) == issued_in(first)


async def test_a_clock_that_was_ahead_puts_no_renewal_off(make, source, clock):
    clock.at = NOW + 20 * DAY
    await make(source.url).fetch("sgx", QUOTE)
    clock.at = NOW + DAY
    service = make(source.url)
    await service.fetch("sgx", QUOTE)
    clock.at += DAY
    source.pages = intel_pages(collateral(int(clock.at), number=2), "sgx")
    await service.fetch("sgx", QUOTE)
    await settled()
    assert number_in(await service.fetch("sgx", QUOTE)) == 2


async def test_requests_at_the_same_time_share_one(make, source):
    service = make(source.url)
    answers = await asyncio.gather(*(service.fetch("sgx", QUOTE) for _ in range(50)))
    assert len(set(answers)) == 1
    assert len(source.requests) == 4


async def test_who_stops_waiting_stops_nobody_else(make, source):
    opened = asyncio.Event()

    async def later(target):
        await opened.wait()
        async for piece in source._answer(target):
            yield piece

    source.fault = later
    service = make(source.url)
    impatient = asyncio.create_task(service.fetch("sgx", QUOTE))
    patient = asyncio.create_task(service.fetch("sgx", QUOTE))
    await asyncio.sleep(0.05)
    impatient.cancel()
    await asyncio.sleep(0)
    opened.set()
    assert await patient
    assert impatient.cancelled()
    assert len(source.requests) == 4


async def test_every_damaged_cache_file_is_fetched_anew(make, source, tmp_path):
    first = await make(source.url).fetch("sgx", QUOTE)
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 4
    for damage in (
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:100] + b"X" + content[101:],
    ):
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        source.requests.clear()
        assert await make(source.url).fetch("sgx", QUOTE) == first
        assert len(source.requests) == 4


async def test_without_a_place_for_the_cache_it_serves_all_the_same(make, source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    service = make(source.url, cache=tmp_path / "file" / "cache")
    assert await service.fetch("sgx", QUOTE) == await service.fetch("sgx", QUOTE)
    assert len(source.requests) == 4


KEEP_FOR_EVER = """
import sys
from pathlib import Path
from strongroom.host.collateral.cache import Cache, Kept
cache = Cache(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    number += 1
    cache.store(Kept(1, "item", number, "", number.to_bytes(8, "big") * 4000))
    print(number, flush=True)
"""


def test_a_cache_killed_while_writing_has_the_old_or_the_new(tmp_path):
    last = 0
    for life in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", KEEP_FOR_EVER, str(tmp_path), str(last)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert writer.stdout is not None
        lines = writer.stdout.readline()
        time.sleep(0.02 + 0.013 * life)
        writer.kill()
        lines += writer.communicate()[0]
        acknowledged = int(lines.splitlines(keepends=True)[-1 if lines.endswith(b"\n") else -2])
        kept = Cache(tmp_path).load("item")
        assert kept is not None
        assert kept.fetched_at in (acknowledged, acknowledged + 1)
        assert kept.body == kept.fetched_at.to_bytes(8, "big") * 4000
        assert [file.name for file in tmp_path.iterdir()] == ["item.collateral"]  # nothing unfinished stays
        last = kept.fetched_at
    assert last > 20
