"""Whoever is not the program that a method names, in the session that its quote was made for, gets no ticket by it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.attestation.appraisal import appraise_workload
from strongroom.attestation.policy import SgxSigner, SnpSigner
from strongroom.enclave.authenticator.ceremonies import MAX_LIFE
from strongroom.enclave.platform.insecure_software import SIGNER, InsecureSoftware
from strongroom.enclave.platform.synthetic_quote import INIT, MODE64
from strongroom.protocol.authenticator_messages import Validate
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.evidence import ConfigValue, report_data
from strongroom.protocol.instructions import Workload
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.sign_in_messages import KeySignIn
from tests.support import policies
from tests.support.evidence import MEASUREMENT, NOW, Cluster, changed, pki
from tests.support.synthetic_snp import MEASUREMENT as SNP_MEASUREMENT
from tests.support.workloads import EnclaveDesk, enclaves_of, machines, trusting_our_roots
from tests.support.world import Platform
from tests.unit.authenticator.test_decisions import VAULT_PEER, stored

SOFTWARE = machines["insecure-software"]
GOOD = SOFTWARE.policy("insecure-software")
KINDS = pytest.mark.parametrize("kind", machines)
DEBUG = 0x02
NOBODY = "the quote is of no workload that the method accepts"
DAY = 86400


@pytest.fixture
def desk(tmp_path):
    platform = Platform("authenticator", tmp_path / "machine")
    platform.ahead = NOW - time.time()
    return EnclaveDesk(platform, enclaves_of(trainer=GOOD))


def another_client(desk: EnclaveDesk) -> EnclaveDesk:
    """A second session of the same Authenticator, with a binding key of its own."""
    other = EnclaveDesk(desk.platform, desk.enclaves)
    other.service = desk.service
    return other


async def refusal(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value


@KINDS
async def test_a_workload_signs_in_and_the_ticket_says_what_it_is(desk, monkeypatch, kind):
    trusting_our_roots(monkeypatch)
    machine = machines[kind]
    desk.enclaves = enclaves_of(
        other=policies.role(sgx=policies.sgx(measurements=[b"\xee" * 32])), trainer=machine.policy(kind)
    )
    signed_in = await desk.quote_sign_in(kind)
    (fact,) = desk.facts(signed_in)
    assert (signed_in.subject, signed_in.email) == ("trainer", "")
    assert (fact.kind, fact.method, fact.subject) == ("enclave", desk.enclaves_digest, "trainer")
    assert fact.claims == [f"platform={kind}", f"measurement={machine.measurement.hex()}", "accepted_by=measurement"]
    assert (fact.channel, fact.phishable, fact.amr, fact.mark) == ("direct", False, [], None)


@pytest.mark.parametrize("kind", ["sgx", "tdx", "snp", "nitro"])
async def test_a_quote_below_a_root_of_somebodys_own_is_refused(desk, kind):
    desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
    assert (await refusal(desk.quote_sign_in(kind))).number is Number.EVIDENCE


async def test_a_quote_of_the_insecure_platform_itself_signs_in_where_its_root_is_named(desk, tmp_path):
    desk.platform.ahead = 0
    machine = InsecureSoftware("authenticator", tmp_path / "workload")
    measurement = machine._measurement
    section = policies.software(roots=list(machine.roots), measurements=[measurement])
    desk.enclaves = enclaves_of(trainer=policies.role(insecure_software=section))
    begun = await desk.quote_begin()
    quoted = machine.quote(begun.challenge + bytes(32))
    signed_in = await desk.quote_finish(begun, "insecure-software", (quoted.quote, quoted.collateral))
    assert f"measurement={measurement.hex()}" in desk.facts(signed_in)[0].claims


async def test_the_first_workload_that_accepts_gives_the_name(desk):
    desk.enclaves = enclaves_of(
        strict=SOFTWARE.policy("insecure-software", allow_smt=False),
        trainer=GOOD,
        anything=SOFTWARE.policy("insecure-software", signers=[SgxSigner(SIGNER, 1, 0)]),
    )
    assert (await desk.quote_sign_in()).subject == "trainer"
    signed_in = await desk.quote_sign_in(measurement=b"\xee" * 32)
    assert signed_in.subject == "anything"
    assert "accepted_by=signer" in desk.facts(signed_in)[0].claims


# --- another session, another time, another purpose -----------------------------------------------------------------


async def test_a_quote_made_for_another_binding_key_is_worthless(desk):
    """The host of a workload takes its quote into a session of its own, or has it answer a salt of its own."""
    host, begun = another_client(desk), await desk.quote_begin()
    quoted = SOFTWARE.quote(begun.challenge + bytes(32))
    assert (await refusal(host.quote_finish(begun, "insecure-software", quoted))).number is Number.REFUSED
    own = await host.quote_begin()
    refused = await refusal(host.quote_finish(own, "insecure-software", quoted))
    assert (refused.number, refused.reason) == (Number.EVIDENCE, "the quote was made over other report data")
    assert await desk.quote_finish(begun, "insecure-software", quoted)


async def test_a_quote_counts_for_the_handle_that_it_answers_only(desk):
    first, second = await desk.quote_begin(), await desk.quote_begin()
    quoted = SOFTWARE.quote(first.challenge + bytes(32))
    refused = await refusal(desk.quote_finish(second, "insecure-software", quoted))
    assert refused.reason == "the quote was made over other report data"


async def test_a_handle_expires_also_when_the_clock_is_wound_back(desk):
    begun = await desk.quote_begin()
    quoted = SOFTWARE.quote(begun.challenge + bytes(32))
    start = desk.platform.ahead
    for ahead in (MAX_LIFE, -10):
        desk.platform.ahead = start + ahead
        refused = await refusal(desk.quote_finish(begun, "insecure-software", quoted))
        assert refused.number is Number.SIGN_IN_REFUSED


async def test_a_quote_of_a_method_that_lists_another_name_does_not_count(desk):
    begun = await desk.quote_begin()
    quoted = SOFTWARE.quote(begun.challenge + bytes(32))
    desk.enclaves = enclaves_of(somebody=GOOD)
    refused = await refusal(desk.quote_finish(begun, "insecure-software", quoted))
    assert refused.number is Number.UNKNOWN_METHOD
    again = await desk.quote_begin()
    assert (await refusal(desk.quote_finish(again, "insecure-software", quoted))).number is Number.EVIDENCE


@KINDS
async def test_report_data_are_the_challenge_and_zeros_and_nothing_else(desk, monkeypatch, kind):
    """A workload that quotes a digest of its own choice behind or before ours has not answered."""
    trusting_our_roots(monkeypatch)
    desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
    begun = await desk.quote_begin()
    others = [bytes(64), begun.challenge + b"\x01" + bytes(31), bytes(32) + begun.challenge, begun.challenge * 2]
    if kind == "nitro":
        others += [begun.challenge, begun.challenge + bytes(33), b""]
    for data in others:
        refused = await refusal(desk.quote_finish(begun, kind, machines[kind].quote(data)))
        assert (refused.number, refused.reason) == (Number.EVIDENCE, "the quote was made over other report data")


async def test_evidence_of_a_vault_is_no_credential(desk):
    """Its report data are a digest under another label: no claims can be made that answer a challenge."""
    cluster = Cluster("vault")
    begun = await desk.quote_begin()
    quoted = SOFTWARE.quote(report_data(encode(cluster.claims())))
    refused = await refusal(desk.quote_finish(begun, "insecure-software", quoted))
    assert refused.reason == "the quote was made over other report data"


async def test_a_challenge_of_another_kind_of_sign_in_does_not_count(desk):
    begun = await desk.challenged("keys", desk.enclaves)
    quoted = SOFTWARE.quote(begun.challenge + bytes(32))
    refused = await refusal(desk.quote_finish(begun, "insecure-software", quoted))
    assert refused.reason == "the quote was made over other report data"
    request = KeySignIn(desk.capsule(desk.enclaves), begun.handle, b"k", b"s", None)
    assert (await refusal(desk.service.handle(desk.caller(), request))).number is Number.UNKNOWN_METHOD


# --- another program, another machine -------------------------------------------------------------------------------

OTHERS: dict[str, dict[str, Any]] = {
    "insecure-software": {"measurement": b"\xee" * 32},
    "sgx": {"measurement": b"\xee" * 32},
    "tdx": {"mr_td": b"\xee" * 48},
    "snp": {"measurement": b"\xee" * 48},
    "nitro": {"pcrs": {index: bytes([0xEE + index % 2]) * 48 for index in range(16)}},
}
DEBUGGED: dict[str, dict[str, Any]] = {
    "insecure-software": {"flags": INIT | MODE64 | DEBUG},
    "sgx": {"flags": INIT | MODE64 | DEBUG},
    "tdx": {"td_attributes": 1 << 28 | 1},
    "snp": {"policy": 0x3001F | 1 << 19},
    "nitro": {"pcrs": {index: bytes(48) for index in range(16)}},
}


@KINDS
async def test_a_quote_of_another_program_is_refused(desk, monkeypatch, kind):
    trusting_our_roots(monkeypatch)
    desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
    refused = await refusal(desk.quote_sign_in(kind, **OTHERS[kind]))
    assert (refused.number, refused.reason) == (Number.POLICY, NOBODY)


@KINDS
async def test_a_workload_under_a_debugger_is_refused(desk, monkeypatch, kind):
    """Whoever debugs it reads its memory, and with it the key that was released to it."""
    trusting_our_roots(monkeypatch)
    desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
    refused = await refusal(desk.quote_sign_in(kind, **DEBUGGED[kind]))
    assert refused.number is Number.EVIDENCE
    assert "debug" in refused.reason


@pytest.mark.parametrize("kind", ["insecure-software", "sgx", "tdx"])
async def test_expired_collateral_is_refused(desk, monkeypatch, kind):
    """A host that keeps what Intel said before a weakness became known."""
    trusting_our_roots(monkeypatch)
    desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
    begun = await desk.quote_begin()
    stale = machines[kind].quote(begun.challenge + bytes(32), issued_at=NOW - 60 * DAY)
    assert (await refusal(desk.quote_finish(begun, kind, stale))).number is Number.EVIDENCE
    fresh = machines[kind].quote(begun.challenge + bytes(32))
    assert await desk.quote_finish(begun, kind, fresh)


async def test_missing_and_surplus_collateral_is_refused(desk, monkeypatch):
    trusting_our_roots(monkeypatch)
    for kind, collateral in (("insecure-software", b""), ("tdx", b""), ("snp", b""), ("nitro", b"{}")):
        desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
        begun = await desk.quote_begin()
        quote, _ = machines[kind].quote(begun.challenge + bytes(32))
        assert (await refusal(desk.quote_finish(begun, kind, (quote, collateral)))).number is Number.EVIDENCE


async def test_a_machine_in_a_state_that_the_policy_does_not_accept_is_refused(desk):
    for fields in (
        {"tcb_statuses": ["OutOfDate"]},
        {"platform_ids": [bytes(16)]},
        {"allow_cached_keys": False, "allow_smt": False},
    ):
        desk.enclaves = enclaves_of(trainer=SOFTWARE.policy("insecure-software", **fields))
        refused = await refusal(desk.quote_sign_in())
        # Not which machine it is: the operator reads reasons.
        assert (refused.number, refused.reason) == (Number.POLICY, NOBODY)


async def test_software_evidence_counts_only_under_roots_that_the_same_workload_names(desk):
    """Another workload's root, on a machine of whoever wants to get in, must not lend this one its trust."""
    other = b"\x01" * 32
    theirs = fingerprint(pki(other).root_der)
    desk.enclaves = enclaves_of(
        trainer=GOOD, toy=SOFTWARE.policy("insecure-software", roots=[theirs], measurements=[b"\xee" * 32])
    )
    refused = await refusal(desk.quote_sign_in(seed=other))
    assert (refused.number, refused.reason) == (Number.POLICY, NOBODY)
    assert (await desk.quote_sign_in(seed=other, measurement=b"\xee" * 32)).subject == "toy"
    assert (await desk.quote_sign_in()).subject == "trainer"
    assert (await refusal(desk.quote_sign_in(seed=b"\x02" * 32))).number is Number.POLICY


async def test_software_is_not_taken_for_hardware(desk):
    """The quotes have one form; only the kind says which roots may be."""
    desk.enclaves = enclaves_of(trainer=machines["sgx"].policy("sgx"))
    begun = await desk.quote_begin()
    quoted = SOFTWARE.quote(begun.challenge + bytes(32))
    assert (await refusal(desk.quote_finish(begun, "insecure-software", quoted))).number is Number.POLICY
    assert (await refusal(desk.quote_finish(begun, "sgx", quoted))).number is Number.EVIDENCE


@KINDS
async def test_a_platform_that_no_workload_names_is_refused(desk, monkeypatch, kind):
    trusting_our_roots(monkeypatch)
    named = "sgx" if kind != "sgx" else "tdx"
    desk.enclaves = enclaves_of(trainer=machines[named].policy(named))
    assert (await refusal(desk.quote_sign_in(kind))).number is Number.POLICY


def test_the_reason_is_that_of_the_policy_that_names_the_platform():
    data = bytes(64)
    policy = SOFTWARE.policy("insecure-software", measurements=[b"\xee" * 32])
    for others, reason in (
        ([machines["tdx"].policy("tdx")], "is not one that the policy names"),
        ([policy], "no policy"),
    ):
        with pytest.raises(Untrusted, match=reason) as caught:
            appraise_workload(
                "insecure-software", *SOFTWARE.quote(data), report_data=data, policies=[*others, policy], now=NOW
            )
        assert caught.value.number is Number.POLICY


@KINDS
async def test_a_bent_quote_is_refused_wherever_it_is_bent(desk, monkeypatch, kind):
    trusting_our_roots(monkeypatch)
    desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
    begun = await desk.quote_begin()
    quote, collateral = machines[kind].quote(begun.challenge + bytes(32))
    bent = [quote[:at] + bytes([quote[at] ^ 1]) + quote[at + 1 :] for at in range(0, len(quote), len(quote) // 40)]
    for one in (b"", quote[:-1], quote + b"\x00", *bent[1:]):
        refused = await refusal(desk.quote_finish(begun, kind, (one, collateral)))
        assert refused.number in (Number.EVIDENCE, Number.POLICY)
    assert await desk.quote_finish(begun, kind, (quote, collateral))


VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"


@pytest.mark.needs("shared")
async def test_genuine_quotes_of_other_programs_for_other_purposes_are_refused(desk):
    """Everything that these machines are is accepted, but nobody made them for this session."""
    index = json.loads((VECTORS / "index.json").read_text())
    genuine = [one for one in index if "collateral" in one and one["name"].startswith(("sgx/", "tdx/"))]
    seen = set()
    for vector in genuine:
        kind = vector["name"][:3]
        desk.platform.ahead = vector["now"] - time.time()
        desk.enclaves = enclaves_of(trainer=machines[kind].policy(kind))
        begun = await desk.quote_begin()
        quoted = ((VECTORS / vector["quote"]).read_bytes(), (VECTORS / vector["collateral"]).read_bytes())
        refused = await refusal(desk.quote_finish(begun, kind, quoted))
        assert refused.number is Number.EVIDENCE
        seen.add(refused.reason)
    assert "the quote was made over other report data" in seen


# --- methods that are not valid -------------------------------------------------------------------------------------

SGX = policies.sgx(measurements=[MEASUREMENT])
NAMES = {
    "two workloads of one name": (Workload("trainer", encode(GOOD)), "workloads[1].name: listed twice"),
    "a workload without a name": (Workload("", encode(GOOD)), "workloads[1].name"),
    "a look-alike name": (Workload("tr\u0430iner", encode(GOOD)), "workloads[1].name"),
    "a name with a line break": (Workload("a\nb", encode(GOOD)), "workloads[1].name"),
    "a name of 256 characters": (Workload("a" * 256, encode(GOOD)), "workloads[1].name"),
    "no policy": (Workload("b", b""), "workloads[1].policy: not an encoded policy"),
    "a policy that is something else": (Workload("b", encode(SGX)), "workloads[1].policy: not an encoded policy"),
    "a policy with something behind it": (Workload("b", encode(GOOD) + b"\x00"), "workloads[1].policy: not an"),
}
POLICIES = {
    "clusters": (changed(GOOD, clusters=[bytes(32)]), "clusters: a quote shows no cluster"),
    "configuration": (changed(GOOD, config=[ConfigValue("egress", "10.0.0.1")]), "config: a quote shows no"),
    "no platform": (policies.role(), ": names no platform"),
    "no program on SGX": (policies.role(sgx=policies.sgx()), "sgx.measurements: neither"),
    "no program on TDX": (policies.role(tdx=policies.tdx()), "tdx.measurements: neither"),
    "no program on SNP": (policies.role(snp=policies.snp()), "snp.measurements: neither"),
    "no program on Nitro": (policies.role(nitro=policies.nitro()), "nitro.measurements: neither"),
    "no program on one of two platforms": (policies.role(sgx=SGX, tdx=policies.tdx()), "tdx.measurements: neither"),
    "no root of software": (SOFTWARE.policy("insecure-software", roots=[]), "insecure_software.roots: none"),
    "no line of processors": (
        policies.role(snp=policies.snp(measurements=[SNP_MEASUREMENT], products=[])),
        "snp.products: none",
    ),
}
INVALID = {
    **{
        name: (changed(enclaves_of(trainer=GOOD, b=GOOD), workloads=[Workload("trainer", encode(GOOD)), one]), place)
        for name, (one, place) in NAMES.items()
    },
    **{
        name: (enclaves_of(trainer=GOOD, b=policy), f"workloads[1].policy{'' if place[0] == ':' else '.'}{place}")
        for name, (policy, place) in POLICIES.items()
    },
    "public names that are others": (
        changed(enclaves_of(trainer=GOOD), public=enclaves_of(somebody=GOOD).public),
        "public.names",
    ),
    "public names of fewer": (
        changed(enclaves_of(a=GOOD, b=GOOD), public=enclaves_of(a=GOOD).public),
        "public.names",
    ),
}


@pytest.mark.parametrize("name", INVALID)
async def test_methods_that_are_not_valid_are_named_by_workload_and_field(desk, name):
    method, place = INVALID[name]
    request = Validate(instructions=stored(enclaves_of(trainer=GOOD), method))
    with pytest.raises(Misuse) as caught:
        await desk.service.handle(desk.caller(VAULT_PEER), request)
    assert (caught.value.number, caught.value.place) == (Number.METHOD_INVALID, 1)
    assert caught.value.reason.startswith(place)
    # Nor does a sign-in work by one that got past `store` elsewhere.
    desk.enclaves = method
    assert (await refusal(desk.quote_begin())).number is Number.METHOD_INVALID


@pytest.mark.parametrize(
    "policy",
    [
        policies.role(sgx=policies.sgx(signers=[SgxSigner(SIGNER, 1, 2)])),
        policies.role(snp=policies.snp(signers=[SnpSigner(b"\x01" * 48, bytes(16), bytes(16), 0)])),
        policies.role(nitro=policies.nitro(signers=[b"\x01" * 48])),
        policies.role(sgx=SGX, tdx=machines["tdx"].section(), snp=machines["snp"].section()),
    ],
)
async def test_ordinary_enclave_methods_are_valid(desk, policy):
    request = Validate(instructions=stored(enclaves_of(trainer=policy)))
    assert (await desk.service.handle(desk.caller(VAULT_PEER), request)).permitted
