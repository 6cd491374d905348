"""Any bytes into anything that reads evidence: a declared error or what was signed, in bounded time and memory."""

import base64
import gc
import itertools
import json
import time
from functools import cache, partial
from pathlib import Path
from random import Random

import cbor2
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from strongroom.attestation.appraisal import appraise
from strongroom.attestation.nitro import verify_nitro_document
from strongroom.attestation.sgx import verify_sgx_quote
from strongroom.attestation.snp import verify_snp_report
from strongroom.attestation.tdx import verify_tdx_quote
from strongroom.attestation.trust_file import parse_trust_policy
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Misuse, Untrusted
from strongroom.protocol.evidence import parse_evidence
from tests.fuzz import subjects, worst
from tests.fuzz.mutants import mutant
from tests.fuzz.subjects import LIMIT, NOW, SUBJECTS
from tests.support import evidence, synthetic_nitro, synthetic_snp, synthetic_tdx

SEEDS = st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63), 2**64) | st.sampled_from([-1, 0, NOW, 2**31, 2**32, 253402300799, 253402300800, 2**63])
SLOWEST = 100
"""Times as long as a good appraisal may anything take, whatever comes in."""
LARGEST = 32 * 1024
"""KiB that anything may need, besides what the process has already."""
STATUS = Path("/proc/self/status")

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
every_subject = pytest.mark.parametrize("name", SUBJECTS)
fast = settings(max_examples=30, deadline=None)
many = settings(max_examples=100, deadline=None)


@every_subject
def test_good_input_is_accepted(name):
    subject = SUBJECTS[name]()
    assert all(subject.feed(*parts) for parts in subject.seeds[: len(subject.said)])


@every_subject
@fast
@given(seed=SEEDS, size=st.integers(0, 300) | st.integers(0, LIMIT), instead=st.integers(0, 3))
def test_any_bytes_are_refused(name, seed, size, instead):
    subject, rng = SUBJECTS[name](), Random(seed)
    parts = list(rng.choice(subject.seeds))
    parts[instead % len(parts)] = rng.randbytes(size)
    note(f"{name}: {[part.hex() for part in parts]}")
    # The names of a platform, and what few random bytes say of the time, are as good as any other.
    assert not subject.feed(*parts) or name in ("quote", "intel-answers", "amd-reports", "tables")


@every_subject
@many
@given(seed=SEEDS)
def test_bent_input_is_refused_or_says_what_was_signed(name, seed):
    parts = mutant(Random(seed), SUBJECTS[name]().seeds)
    note(f"{name}: {[part.hex() for part in parts]}")
    SUBJECTS[name]().feed(*parts)


def flipped(part, bit):
    """With that bit the other way round; None: as it is."""
    if bit is None:
        return part
    at = bit // 8 % len(part)
    return part[:at] + bytes((part[at] ^ 1 << bit % 8,)) + part[at + 1 :]


def flipped_statement(parts, bit, field):
    """A field of Intel's collateral; of hexadecimal digits the bytes that they stand for."""
    quote, collateral = parts
    fields = json.loads(collateral)
    if field in ("tcb_info", "qe_identity"):
        fields[field] = flipped(fields[field].encode(), bit).decode("latin-1")
    else:
        fields[field] = flipped(bytes.fromhex(fields[field]), bit).hex()
    return quote, json.dumps(fields).encode()


def flipped_block(parts, bit, at):
    """What is signed of a certificate in AMD's collateral."""
    report, collateral = parts
    blocks = [block + b"-----\n" for block in collateral.split(b"-----\n")[:-1]]
    der = base64.b64decode(blocks[2 * at + 1].split(b"-----END")[0])
    # The outer sequence, then what is signed, both with two bytes of length; then an algorithm, at which nobody looks.
    size = 4 + int.from_bytes(der[6:8], "big")
    blocks[2 * at : 2 * at + 2] = [subjects.pem(der[:4] + flipped(der[4 : 4 + size], bit) + der[4 + size :])]
    return report, b"".join(blocks)


def flipped_authority(parts, bit, level):
    """What is signed of a certificate in a Nitro document, which is signed anew by the leaf's key."""
    payload = cbor2.loads(parts[0])
    chain = [*payload["cabundle"], payload["certificate"]]
    der = chain[level]
    size = 4 + int.from_bytes(der[6:8], "big")
    chain[level] = der[:4] + flipped(der[4 : 4 + size], bit) + der[4 + size :]
    return (cbor2.dumps(payload | {"cabundle": chain[:-1], "certificate": chain[-1]}),)


def flipped_evidence(parts, bit, field):
    message, _, _ = parse_evidence(parts[0])
    return (encode(evidence.changed(message, **{field: flipped(getattr(message, field), bit)})),)


SIGNED = (
    ("sgx", 0, lambda parts, bit: (flipped(parts[0], bit), parts[1])),
    *(("tdx", at, lambda parts, bit: (flipped(parts[0], bit), parts[1])) for at in range(3)),
    ("snp", 1, lambda parts, bit: (flipped(parts[0], bit), parts[1])),
    ("nitro", 0, lambda parts, bit: (flipped(parts[0], bit),)),
    *(
        ("sgx", 0, partial(flipped_statement, field=field))
        for field in (
            "tcb_info",
            "tcb_info_signature",
            "qe_identity",
            "qe_identity_signature",
            "pck_crl",
            "root_ca_crl",
        )
    ),
    *(("snp", 0, partial(flipped_block, at=at)) for at in range(3)),
    *(("signed-nitro", 0, partial(flipped_authority, level=level)) for level in range(5)),
    *(
        ("appraisal", 0, partial(flipped_evidence, field=field))
        for field in ("quote", "claims", "genesis", "cluster_signature")
    ),
)
"""Subject, which seed of it, and how to flip one bit of something that is signed."""


@pytest.mark.parametrize(("name", "seed", "flip"), SIGNED)
@many
@given(bit=st.integers(0, 2**20))
def test_a_flip_of_any_bit_that_was_signed_is_refused(name, seed, flip, bit):
    subject = SUBJECTS[name]()
    assert not subject.feed(*flip(subject.seeds[seed], bit))


@pytest.mark.parametrize(("name", "seed", "flip"), SIGNED)
def test_the_same_without_a_flip_is_accepted(name, seed, flip):
    subject = SUBJECTS[name]()
    assert subject.feed(*flip(subject.seeds[seed], None))


@many
@given(now=TIMES)
def test_any_time_is_refused_or_one_at_which_the_evidence_is_valid(now):
    pki, tdx, cluster = evidence.pki(), synthetic_tdx.TdxPki(bytes(32), NOW - 1000), evidence.Cluster("vault")
    chip, nitro = synthetic_snp.amd("Genoa"), synthetic_nitro.SyntheticNitro()
    of_sgx, of_tdx, of_snp, of_nitro = (
        one().seeds[at] for one, at in ((subjects.sgx, 0), (subjects.tdx, 0), (subjects.snp, 1), (subjects.nitro, 0))
    )
    found = []
    for verify in (
        lambda: verify_sgx_quote(of_sgx[0], of_sgx[1], pki.root_der, now),
        lambda: verify_tdx_quote(of_tdx[0], of_tdx[1], tdx.root_der, now),
        lambda: verify_snp_report(of_snp[0], of_snp[1], now, chains=chip.chains),
        lambda: verify_nitro_document(of_nitro[0], now, root=nitro.root),
        lambda: appraise(cluster.evidence(), role="vault", policy=cluster.policy(), now=now).genuine.report,
    ):
        try:
            found.append(verify())
        except Untrusted:
            continue
    assert all(one.proven_at - 300 <= now <= one.valid_until for one in found)
    assert len(found) == 5 or now != NOW


# --- time and memory ----------------------------------------------------------------------------------------------


def cpu_seconds(subject, parts):
    """The better of two: other processes share the machine's caches."""
    found = []
    for _ in range(2):
        began = time.process_time()
        subject.feed(*parts)
        found.append(time.process_time() - began)
    return min(found)


def kibibytes(name):
    return int(next(line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:")))


@pytest.fixture(scope="module")
def good():
    """CPU seconds of one good appraisal."""
    subject = SUBJECTS["appraisal"]()
    return sorted(cpu_seconds(subject, subject.seeds[0]) for _ in range(25))[12]


@cache
def cases():
    return dict(itertools.chain.from_iterable(some().items() for some in worst.WORST))


def test_the_worst_input_costs_no_more_than_some_appraisals(good):
    for what, (name, parts) in cases().items():
        assert all(len(part) <= 2 * LIMIT for part in parts), what
        taken = cpu_seconds(SUBJECTS[name](), parts) / good
        assert taken < SLOWEST, f"{what}: {taken:.0f} times as long as a good appraisal"


def peak_memory(subject, parts):
    """KiB that it needed at most."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = kibibytes("VmRSS")
    subject.feed(*parts)
    return kibibytes("VmHWM") - before


needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's account of the memory of a process")


@needs_proc
def test_the_worst_input_needs_little_memory():
    for subject in SUBJECTS.values():
        assert subject().said
    gc.collect()
    for what, (name, parts) in cases().items():
        assert peak_memory(SUBJECTS[name](), parts) < LARGEST, what


def test_a_large_rsa_key_costs_nothing_before_somebody_vouches_for_it(good):
    """A signature by a key of 300,000 bits would take minutes: such a key is never used."""
    der = worst.with_rsa(300_000, 299_999)
    pem = subjects.pem(der)
    quote, collateral = subjects.sgx().seeds[0]
    report, chain = subjects.snp().seeds[1]
    root = subjects.pem(evidence.pki().root_der)
    for field in ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        bent = json.dumps(json.loads(collateral) | {field: (pem + root).decode()}).encode()
        assert cpu_seconds(SUBJECTS["sgx"](), (quote, bent)) < SLOWEST * good
    for at in range(3):
        blocks = chain.split(b"-----BEGIN ")[1:]
        blocks[at] = pem.removeprefix(b"-----BEGIN ")
        bent = b"".join(b"-----BEGIN " + block for block in blocks)
        assert cpu_seconds(SUBJECTS["snp"](), (report, bent)) < SLOWEST * good


# --- what fuzzing has found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [0, 1])
def test_signed_statements_with_fields_nested_without_end_are_refused(field):
    """Only who signs for Intel, or for a root that somebody named, can say so; it must be an answer all the same."""
    statements = list(subjects.signed_statements().seeds[0])
    statements[field] = statements[field][:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert not SUBJECTS["signed-statements"]().feed(*statements)


@pytest.mark.parametrize("text", ["name = '\udc80'", "\udc80 = 1", "'\udcff' = 1", "[vault]\nclusters = ['\ud800']"])
def test_half_a_surrogate_pair_in_a_trust_policy_is_refused(text):
    with pytest.raises(Misuse):
        parse_trust_policy(text)


def test_a_chain_that_ends_in_the_year_0_is_an_answer_that_cannot_be_used():
    subject = SUBJECTS["intel-answers"]()
    chain = subjects.pem(worst.dated(b"00000101000000Z"))
    assert not any(subject.feed(body, chain) for body, _ in subject.seeds[4:])


@pytest.mark.parametrize("name", ["trust-policy", "release"])
def test_a_key_of_a_thousand_parts_costs_no_more_than_its_length(name):
    """16 KiB of `a.a.a…` cost seconds and hundreds of megabytes."""
    name_of_file = SUBJECTS[name]().seeds[0][1:]
    short, long = (cpu_seconds(SUBJECTS[name](), (*worst.endless_key(dots), *name_of_file)) for dots in (500, 4000))
    assert long < 20 * short


@needs_proc
def test_a_table_whose_entries_are_each_all_of_it_needs_little_memory():
    assert peak_memory(SUBJECTS["tables"](), worst.overlapping_table()) < LARGEST


@pytest.mark.parametrize("chain", ["", "any text at all", "\x1b[2J"])
def test_any_text_in_place_of_the_chain_of_revocation_lists_is_refused(chain):
    """Nothing signs it, so that a host could show one quote in endless guises, with a message of its own in each."""
    quote, collateral = subjects.sgx().seeds[0]
    bent = json.loads(collateral) | {"pck_crl_issuer_chain": chain}
    assert not SUBJECTS["sgx"]().feed(quote, json.dumps(bent).encode())
