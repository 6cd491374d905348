"""Whoever has not the key, or has it sign for something else, gets no ticket by it."""

from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from strongroom.enclave.authenticator.ceremonies import MAX_LIFE
from strongroom.protocol.authenticator_messages import Validate
from strongroom.protocol.errors import Misuse, Number, StrongroomError, Untrusted
from strongroom.protocol.primitives import Domain, SigningKey, digest, fingerprint
from strongroom.protocol.sign_in_messages import EnclaveSignIn
from strongroom.protocol.sshsig import parse_ssh_key, verify_sshsig
from tests.support.evidence import changed
from tests.support.ssh_keys import KEY_TYPES, PRESENT, VERIFIED, KeyDesk, SshKey, keys_of, listing, mpint, string
from tests.support.world import Platform
from tests.unit.authenticator.test_decisions import VAULT_PEER, stored

KEYS = {kind: SshKey(kind=kind) for kind in KEY_TYPES}
BOB, P256, SK, SK_P256 = KEYS.values()
ALL = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
SECURITY_KEYS = pytest.mark.parametrize("key", [SK, SK_P256], ids=KEY_TYPES[2:])


@pytest.fixture
def desk(tmp_path):
    return KeyDesk(Platform("authenticator", tmp_path / "machine"), keys_of(*KEYS.values()))


def another_client(desk: KeyDesk) -> KeyDesk:
    """A second session of the same Authenticator, with a binding key of its own."""
    other = KeyDesk(desk.platform, desk.keys)
    other.service = desk.service
    return other


async def refusal(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value


@ALL
async def test_a_key_signs_in_and_the_ticket_says_so(desk, key):
    signed_in = await desk.key_sign_in(key)
    (fact,) = desk.facts(signed_in)
    assert (signed_in.subject, signed_in.email) == ("bob@example.com", "")
    assert (fact.kind, fact.method, fact.subject, fact.issuer) == ("keys", desk.keys_digest, "bob@example.com", "")
    assert (fact.channel, fact.phishable, fact.mark) == ("direct", False, None)
    assert fact.amr == (["mfa", "pop", "user"] if key.is_security_key else ["pop"])


async def test_one_person_has_several_keys_and_each_is_of_one_person_only(desk):
    eve = SshKey("eve@example.com")
    desk.keys = keys_of(BOB, P256, eve)
    assert [(await desk.key_sign_in(key)).subject for key in (BOB, P256, eve)] == [
        "bob@example.com",
        "bob@example.com",
        "eve@example.com",
    ]
    begun = await desk.key_begin()
    refused = await refusal(desk.key_finish(begun, BOB, eve.sign(begun.challenge)))
    assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, "bad signature")


async def test_a_key_that_the_method_does_not_list_is_refused(desk):
    refused = await refusal(desk.key_sign_in(SshKey()))
    assert (refused.number, refused.reason) == (Number.SIGN_IN_REFUSED, "the method does not list this key")


# --- another session, another time, another purpose -----------------------------------------------------------------


async def test_a_signature_made_for_another_binding_key_is_worthless(desk):
    """The thief has the victim's signature, and brings it into a session of his own, or relays his own salt."""
    thief, begun = another_client(desk), await desk.key_begin()
    signature = BOB.sign(begun.challenge)
    assert (await refusal(thief.key_finish(begun, BOB, signature))).number is Number.REFUSED
    own = await thief.key_begin()
    assert (await refusal(thief.key_finish(own, BOB, signature))).reason == "bad signature"
    assert await desk.key_finish(begun, BOB, signature)


async def test_every_sign_in_has_a_challenge_of_its_own(desk):
    first, second = await desk.key_begin(), await desk.key_begin()
    assert first.challenge != second.challenge
    assert (await refusal(desk.key_finish(second, BOB, BOB.sign(first.challenge)))).reason == "bad signature"


async def test_a_handle_expires_also_when_the_clock_is_wound_back(desk):
    begun = await desk.key_begin()
    signature = BOB.sign(begun.challenge)
    for ahead in (MAX_LIFE, -10):
        desk.platform.ahead = ahead
        assert (await refusal(desk.key_finish(begun, BOB, signature))).number is Number.SIGN_IN_REFUSED
    desk.platform.ahead = MAX_LIFE - 5
    assert await desk.key_finish(begun, BOB, signature)


async def test_a_signature_for_another_method_does_not_count(desk):
    """The same key stands in two methods: a sign-in for one depositor's is none for another's."""
    begun = await desk.key_begin()
    signature = BOB.sign(begun.challenge)
    desk.keys = keys_of(BOB, SshKey("eve@example.com"))
    assert (await refusal(desk.key_finish(begun, BOB, signature))).number is Number.UNKNOWN_METHOD
    again = await desk.key_begin()
    assert (await refusal(desk.key_finish(again, BOB, signature))).reason == "bad signature"


async def test_a_challenge_of_another_kind_of_sign_in_does_not_count(desk):
    """Whoever can have a key sign a passkey's challenge, or an enclave quote one, gets nothing by it here."""
    for kind in ("passkey", "enclave"):
        begun = await desk.challenged(kind, desk.keys)
        assert (await refusal(desk.key_finish(begun, BOB, BOB.sign(begun.challenge)))).reason == "bad signature"
    begun = await desk.key_begin()
    request = EnclaveSignIn(desk.capsule(desk.keys), begun.handle, "sgx", b"", b"", None)
    assert (await refusal(desk.service.handle(desk.caller(), request))).number is Number.UNKNOWN_METHOD


ELSEWHERE: dict[str, dict[str, Any]] = {
    "a file": {"namespace": b"file"},
    "a commit of git": {"namespace": b"git"},
    "no namespace": {"namespace": b""},
    "a namespace that begins alike": {"namespace": b"strongroom.example"},
    "a reserved field in use": {"reserved": b"\x00"},
    "another hash": {"algorithm": b"sha256"},
    "another protocol": {"magic": b"SSHSIX"},
}


@ALL
@pytest.mark.parametrize("name", ELSEWHERE)
async def test_what_a_key_signed_for_something_else_is_no_sign_in(desk, key, name):
    refused = await refusal(desk.key_sign_in(key, **ELSEWHERE[name]))
    assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, "bad signature")


@ALL
async def test_a_signature_without_the_frame_of_sshsig_is_refused(desk, key):
    """As for a login by ssh: a signature of the bytes themselves."""
    begun = await desk.key_begin()
    said = bytes([PRESENT | VERIFIED]) + bytes(4) if key.is_security_key else b""
    naked = string(key.kind.encode()) + string(key.raw(begun.challenge)) + said
    assert (await refusal(desk.key_finish(begun, key, naked))).reason == "bad signature"


# --- security keys --------------------------------------------------------------------------------------------------


@SECURITY_KEYS
async def test_a_security_key_that_nobody_touched_is_refused(desk, key):
    """OpenSSH makes such keys by `no-touch-required`: malware on the machine could sign with them alone."""
    for flags in (0, VERIFIED):
        refused = await refusal(desk.key_sign_in(key, flags=flags))
        assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, "nobody touched the security key")


@SECURITY_KEYS
async def test_who_demands_verification_does_not_take_a_touch(desk, key):
    (fact,) = desk.facts(await desk.key_sign_in(key, flags=PRESENT))
    assert fact.amr == ["pop", "user"]
    desk.keys = keys_of(key, verified=True)
    refused = await refusal(desk.key_sign_in(key, flags=PRESENT))
    assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, "the security key did not verify its user")
    (fact,) = desk.facts(await desk.key_sign_in(key))
    assert fact.amr == ["mfa", "pop", "user"]


@SECURITY_KEYS
async def test_flags_and_counter_stand_under_the_signature(desk, key):
    begun = await desk.key_begin()
    good = key.sign(begun.challenge, flags=PRESENT, counter=4)
    for bent in (good[:-5] + bytes([PRESENT | VERIFIED]) + good[-4:], good[:-1] + b"\x05"):
        assert (await refusal(desk.key_finish(begun, key, bent))).reason == "bad signature"
    assert await desk.key_finish(begun, key, good)


@SECURITY_KEYS
async def test_a_signature_for_another_application_is_refused(desk, key):
    """A web page that has the security key sign would have to be called `ssh:`."""
    assert (await refusal(desk.key_sign_in(key, application="https://evil.example"))).reason == "bad signature"


@pytest.mark.parametrize(("key", "plain"), [(SK, BOB), (SK_P256, P256)], ids=KEY_TYPES[2:])
async def test_the_same_point_listed_as_a_security_key_does_not_sign_as_a_plain_key(desk, key, plain):
    imitation = SshKey(kind=plain.kind)
    imitation.private = key.private
    begun = await desk.key_begin()
    refused = await refusal(desk.key_finish(begun, key, imitation.sign(begun.challenge)))
    assert refused.reason == "the signature is of another type than the key"


@SECURITY_KEYS
async def test_a_security_key_that_counts_leaves_a_mark_which_its_copy_can_not_pass(desk, key):
    begun = await desk.key_begin()
    signatures = [key.sign(begun.challenge, counter=9), key.sign(begun.challenge, counter=9, flags=PRESENT)]
    facts = [desk.facts(await desk.key_finish(begun, key, signature))[0] for signature in signatures]
    for fact, signature in zip(facts, signatures, strict=True):
        assert fact.mark is not None
        assert fact.mark.name == digest(Domain.MARK, desk.keys_digest, fingerprint(key.public_key))
        assert (fact.mark.value, fact.mark.expires_at) == (9, 0)
        assert fact.mark.token == digest(Domain.MARK, signature)
    assert facts[0].mark.token != facts[1].mark.token


# --- bent signatures ------------------------------------------------------------------------------------------------


@ALL
async def test_a_bent_signature_is_refused_whatever_is_bent(desk, key):
    begun = await desk.key_begin()
    good = key.sign(begun.challenge, counter=1)
    for at in range(len(good)):
        bent = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert (await refusal(desk.key_finish(begun, key, bent))).number is Number.TOKEN_UNTRUSTED
    for bent, reason in (
        (good[:-1], "a key or a signature is cut short"),
        (good + b"\x00", "something follows a key or a signature"),
        (b"\x00", "a key or a signature is cut short"),
        (b"\xff" * 80, "a key or a signature is cut short"),
        (string(b"ssh-rsa") + good[4 + len(key.kind) :], "the signature is of another type than the key"),
    ):
        refused = await refusal(desk.key_finish(begun, key, bent))
        assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, reason)


def _numbers(signature: bytes) -> tuple[int, int]:
    size = int.from_bytes(signature[:4], "big")
    return int.from_bytes(signature[4 : 4 + size], "big"), int.from_bytes(signature[8 + size :], "big")


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FORM = "a number of a signature is not positive and in its one form"
INTEGERS = {
    "a zero before it": (lambda r, s: string(b"\x00\x00" + r.to_bytes(32, "big")) + mpint(s), FORM),
    "a zero before a small one": (lambda r, s: string(b"\x00\x01") + mpint(s), FORM),
    "a negative one": (lambda r, s: string(b"\xff" + r.to_bytes(32, "big")) + mpint(s), FORM),
    "zero": (lambda r, s: string(b"") + mpint(s), FORM),
    "zero, written out": (lambda r, s: string(b"\x00") + mpint(s), FORM),
    "one without end": (lambda r, s: string(b"\x01" * 600) + mpint(s), FORM),
    "the order of the curve more": (lambda r, s: mpint(r) + mpint(s + ORDER), "bad signature"),
    "none for s": (lambda r, s: mpint(r), "a key or a signature is cut short"),
    "a third one": (lambda r, s: mpint(r) + mpint(s) + mpint(1), "something follows a key or a signature"),
    "DER": (lambda r, s: b"\x30\x06\x02\x01\x01\x02\x01\x01", "a key or a signature is cut short"),
}


@pytest.mark.parametrize("name", INTEGERS)
async def test_the_numbers_of_an_ecdsa_signature_have_one_form(desk, name):
    """Else one signature had several, and a mark would not know it again."""
    write, reason = INTEGERS[name]
    begun = await desk.key_begin()
    head = string(P256.kind.encode())
    good = P256.sign(begun.challenge)
    assert await desk.key_finish(begun, P256, good)
    bent = head + string(write(*_numbers(good[len(head) + 4 :])))
    refused = await refusal(desk.key_finish(begun, P256, bent))
    assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, reason)


async def test_an_ed25519_signature_has_one_form(desk):
    begun = await desk.key_begin()
    good = BOB.sign(begun.challenge)
    s = int.from_bytes(good[-32:], "little") + 2**252 + 27742317777372353535851937790883648493
    refused = await refusal(desk.key_finish(begun, BOB, good[:-32] + s.to_bytes(32, "little")))
    assert refused.reason == "bad signature"


# --- any bytes ------------------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.binary(max_size=70),
    st.sampled_from([kind.encode() for kind in KEY_TYPES] + [b"nistp256", b"ssh:", BOB.point, P256.point]),
)
REFUSED = [Number.METHOD_INVALID, True]
FIELDS = st.builds(
    lambda fields, end: b"".join(map(string, fields)) + end, st.lists(PIECES, max_size=5), st.binary(max_size=6)
)


@given(FIELDS | st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_keys_fail_in_another_way(data):
    found: list[object] = []
    try:
        found.append(parse_ssh_key(data).kind)
    except Misuse as error:
        found += [error.number, error.reason.isascii()]
    assert found in ([kind.encode() for kind in KEYS if data.startswith(string(kind.encode()))], REFUSED)


@given(st.sampled_from(list(KEYS.values())), FIELDS | st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_signatures_fail_in_another_way(key, data):
    for signature in (data, string(key.kind.encode()) + data, string(key.kind.encode()) + string(data) + bytes(5)):
        with pytest.raises(Untrusted) as caught:
            verify_sshsig(parse_ssh_key(key.public_key), signature, b"challenge")
        assert caught.value.number is Number.TOKEN_UNTRUSTED
        assert caught.value.reason.isascii()


# --- methods that are not valid -------------------------------------------------------------------------------------

FIELD = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
LOW_ORDER = [
    (y | sign << 255).to_bytes(32, "little") for y in (0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8) for sign in (0, 1)
]
LOW = "of low order, or not in its one form"


def test_the_points_of_low_order_are_all_there_are():
    """Eight of them: what 8 * P leads to the neutral element, found by adding."""
    d = -121665 * pow(121666, -1, FIELD) % FIELD

    def added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = one, other
        k = d * x1 * x2 * y1 * y2 % FIELD
        return (
            (x1 * y2 + x2 * y1) * pow(1 + k, -1, FIELD) % FIELD,
            (y1 * y2 + x1 * x2) * pow(1 - k, -1, FIELD) % FIELD,
        )

    x_squared = (ORDER_8**2 - 1) * pow(d * ORDER_8**2 + 1, -1, FIELD) % FIELD
    x = pow(x_squared, (FIELD + 3) // 8, FIELD)
    if x * x % FIELD != x_squared:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    generator, found = (x, ORDER_8), [(0, 1)]
    while (following := added(found[-1], generator)) != (0, 1) and len(found) < 9:
        found.append(following)
    assert len(found) == 8
    points = {(y | (x & 1) << 255).to_bytes(32, "little") for x, y in found}
    assert points < set(LOW_ORDER)  # which has the two forms, too, that stand for x = -0


def test_anybody_signs_for_a_point_of_low_order():
    """Why they are refused: the library takes them."""
    neutral = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    neutral.verify((1).to_bytes(32, "little") + bytes(32), b"whatever")
    with pytest.raises(InvalidSignature):
        neutral.verify(bytes(64), b"whatever")


def _off_the_curve() -> bytes:
    for y in range(2, 100):
        point = y.to_bytes(32, "little")
        x_squared = (y * y - 1) * pow(-121665 * pow(121666, -1, FIELD) * y * y + 1, -1, FIELD) % FIELD
        if pow(x_squared, (FIELD - 1) // 2, FIELD) != 1:
            return point
    raise AssertionError


ED, EC = SshKey(), SshKey(kind="ecdsa-sha2-nistp256")
SK_ED = SshKey(kind="sk-ssh-ed25519@openssh.com")
BENT_POINT = EC.point[:-1] + bytes([EC.point[-1] ^ 1])
RSA = string(b"ssh-rsa") + string(b"\x01\x00\x01") + string(b"\x00" + b"\xff" * 256)
FOUR = "not ssh-ed25519, ecdsa-sha2-nistp256 or one of their sk- types"
WRITTEN = {
    "nothing": (b"\x00", "cut short"),
    "no key": (b"ssh-ed25519 AAAA", "cut short"),
    "rsa": (RSA, FOUR),
    "P-384": (string(b"ecdsa-sha2-nistp384") + string(b"nistp384") + string(b"\x04" + bytes(96)), FOUR),
    "a certificate": (string(b"ssh-ed25519-cert-v01@openssh.com") + string(bytes(32)) * 3, FOUR),
    "a type in capitals": (string(b"SSH-ED25519") + string(ED.point), FOUR),
    "a webauthn type": (string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com") + string(b""), FOUR),
    "something behind it": (ED.written(end=b"\x00"), "something follows"),
    "an application behind a plain key": (ED.written(end=string(b"ssh:")), "something follows"),
    "cut short": (ED.public_key[:-1], "cut short"),
    "a point of 31 bytes": (ED.written(point=ED.point[:-1]), "not 32 bytes long"),
    "a point of 33 bytes": (ED.written(point=ED.point + b"\x00"), "not 32 bytes long"),
    "y beyond the field": (ED.written(point=(FIELD + 3).to_bytes(32, "little")), LOW),
    "y beyond the field, of order 1": (ED.written(point=(FIELD + 1).to_bytes(32, "little")), LOW),
    "off the curve of Ed25519": (ED.written(point=_off_the_curve()), "not a point of the curve"),
    "off the curve P-256": (EC.written(point=BENT_POINT), "not a point of the curve"),
    "the point at infinity": (EC.written(point=b"\x00"), "not an uncompressed point"),
    "a compressed point": (EC.written(point=b"\x02" + EC.point[1:33]), "not an uncompressed point"),
    "a hybrid point": (EC.written(point=bytes([6 + (EC.point[-1] & 1)]) + EC.point[1:]), "not an uncompressed point"),
    "another curve by name": (EC.written(curve=b"nistp384"), "not of the curve nistp256"),
    "no application": (SshKey(kind=SK_ED.kind, application="").public_key, "application of a security key"),
    "an application with a line break": (SshKey(kind=SK_ED.kind, application="ssh:\n").public_key, "application of"),
    "an application that is not ASCII": (
        SshKey(kind=SK_ED.kind, application="ssh:\u00e9").public_key,
        "application of",
    ),
    "something behind the application": (SK_ED.written(end=string(b"ssh:")), "something follows"),
    **{f"order 8 or less: {point.hex()}": (ED.written(point=point), LOW) for point in LOW_ORDER},
    **{f"order 8 or less, sk: {point.hex()}": (SK_ED.written(point=point), LOW) for point in LOW_ORDER[:2]},
}
INVALID = {
    **{
        name: (listing(ED.listed, changed(BOB.listed, public_key=key)), f"keys[1].public_key: .*{reason}")
        for name, (key, reason) in WRITTEN.items()
    },
    "a person without a name": (listing(changed(BOB.listed, person="")), r"keys[0].person"),
    "a person with a look-alike name": (listing(changed(BOB.listed, person="b\u043eb@example.com")), "keys[0].person"),
    "a person with a line break": (listing(changed(BOB.listed, person="bob\nadmin")), "keys[0].person"),
    "a person of 256 characters": (listing(changed(BOB.listed, person="b" * 256)), "keys[0].person"),
    "a key of two people": (listing(BOB.listed, changed(BOB.listed, person="eve")), "keys[1].public_key: listed twice"),
    "fingerprints of other keys": (changed(keys_of(BOB), public=keys_of(ED).public), "public.fingerprints"),
    "fingerprints in another order": (changed(keys_of(BOB, ED), public=keys_of(ED, BOB).public), "public.fingerprints"),
    "fingerprints of fewer keys": (changed(keys_of(BOB, ED), public=keys_of(BOB).public), "public.fingerprints"),
    "a plain key where verification is demanded": (keys_of(SK, BOB, verified=True), "keys[1].public_key: only"),
}


@pytest.mark.parametrize("name", INVALID)
async def test_methods_that_are_not_valid_are_named_by_index_and_field(desk, name):
    method, words = INVALID[name]
    request = Validate(instructions=stored(keys_of(BOB), method))
    with pytest.raises(Misuse) as caught:
        await desk.service.handle(desk.caller(VAULT_PEER), request)
    assert (caught.value.number, caught.value.place) == (Number.METHOD_INVALID, 1)
    place, _, reason = words.partition(".*")
    assert caught.value.reason.startswith(place)
    assert reason in caught.value.reason
    # Nor does a sign-in work by one that got past `store` elsewhere.
    desk.keys = method
    assert (await refusal(desk.key_begin())).number is Number.METHOD_INVALID


@pytest.mark.parametrize("application", ["ssh:", "ssh:work", "https://example.com/appid.json", "a b"])
async def test_security_keys_of_any_application_are_keys(desk, application):
    key = SshKey(kind="sk-ssh-ed25519@openssh.com", application=application)
    desk.keys = keys_of(key)
    request = Validate(instructions=stored(desk.keys))
    assert (await desk.service.handle(desk.caller(VAULT_PEER), request)).permitted
    assert await desk.key_sign_in(key)


def test_every_key_that_is_made_is_taken():
    """The tests of points refuse none of the good ones."""
    for _ in range(64):
        assert parse_ssh_key(SshKey().public_key).application is None
    assert SigningKey.generate().public[0] == 4
