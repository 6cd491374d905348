"""Whoever is not the person, on the page, in the session that a passkey's assertion was made for gets no ticket."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom.client.methods import oidc_method, passkey_method
from strongroom.enclave.authenticator.ceremonies import MAX_LIFE
from strongroom.protocol.authenticator_messages import Validate
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Untrusted
from strongroom.protocol.instructions import sign_in_challenge
from strongroom.protocol.primitives import Domain, SigningKey, digest
from strongroom.protocol.sign_in_messages import Begin, Challenge, DeviceBegin, Redeem
from tests.support.evidence import changed
from tests.support.issuer import VAULT
from tests.support.passkeys import (
    BACKED_UP,
    BACKUP_ELIGIBLE,
    ORIGIN,
    PRESENT,
    RP_ID,
    VERIFIED,
    PasskeyDesk,
    SoftwarePasskey,
    cose,
    method_of,
)
from tests.support.world import Platform
from tests.unit.authenticator.test_decisions import VAULT_PEER, stored

BOB = SoftwarePasskey()


@pytest.fixture
def desk(tmp_path):
    return PasskeyDesk(Platform("authenticator", tmp_path / "machine"), method_of(BOB))


def another_client(desk: PasskeyDesk) -> PasskeyDesk:
    """A second session of the same Authenticator, with a binding key of its own."""
    other = PasskeyDesk(desk.platform, desk.passkeys)
    other.service = desk.service
    return other


async def refusal(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_a_passkey_signs_in_and_the_ticket_says_so(desk, algorithm):
    passkey = SoftwarePasskey(algorithm=algorithm)
    desk.passkeys = method_of(BOB, passkey)
    signed_in = await desk.passkey_sign_in(passkey)
    (fact,) = desk.facts(signed_in)
    assert (signed_in.subject, signed_in.email) == ("bob@example.com", "")
    assert (fact.method, fact.subject, fact.email, fact.issuer) == (desk.passkey_digest, "bob@example.com", "", "")
    assert (fact.channel, fact.amr, fact.phishable) == ("web", ["mfa", "pop", "user"], False)


async def test_browsers_may_add_members_and_authenticators_extensions(desk):
    begun = await desk.passkey_begin()
    assertion = BOB.sign_in(begun.challenge, other_keys_can_be_added_here="https://goo.gl/yabPex")
    longer = assertion.authenticator_data[:32] + b"\x85" + bytes(4) + b"\xa0"
    signature = BOB.sign(longer + sha256(assertion.client_data).digest())
    await desk.passkey_finish(begun, replace(assertion, authenticator_data=longer, signature=signature))


# --- another session, another method, another time ---------------------------------------------------------------


async def test_an_assertion_made_for_another_binding_key_is_worthless(desk):
    """The thief relays a challenge of his own session, or brings the victim's handle into it."""
    thief, begun = another_client(desk), await desk.passkey_begin()
    assertion = BOB.sign_in(begun.challenge)
    assert (await refusal(thief.passkey_finish(begun, assertion))).number is Number.REFUSED
    own = await thief.passkey_begin()
    refused = await refusal(thief.passkey_finish(own, assertion))
    assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, "the challenge is another session's")
    assert await desk.passkey_finish(begun, assertion)


async def test_the_challenge_covers_kind_method_binding_key_and_salt():
    key, other = SigningKey.generate().public, SigningKey.generate().public
    made = {
        sign_in_challenge(kind, method, binding, salt)
        for kind in ("passkey", "keys")
        for method in (bytes(32), b"m" * 32)
        for binding in (key, other)
        for salt in (bytes(32), b"s" * 32)
    }
    assert len(made) == 16


async def test_every_sign_in_has_a_challenge_of_its_own(desk):
    first, second = await desk.passkey_begin(), await desk.passkey_begin()
    assert first.challenge != second.challenge
    refused = await refusal(desk.passkey_finish(second, BOB.sign_in(first.challenge)))
    assert refused.reason == "the challenge is another session's"


async def test_an_assertion_for_another_method_does_not_count(desk):
    """The same passkey stands in two methods: a sign-in for one depositor's is none for another's."""
    begun = await desk.passkey_begin()
    desk.passkeys = method_of(BOB, SoftwarePasskey("eve@example.com"))
    refused = await refusal(desk.passkey_finish(begun, BOB.sign_in(begun.challenge)))
    assert refused.number is Number.UNKNOWN_METHOD


async def test_a_handle_expires_also_when_the_clock_is_wound_back(desk):
    begun = await desk.passkey_begin()
    assertion = BOB.sign_in(begun.challenge)
    for ahead in (MAX_LIFE, -10):
        desk.platform.ahead = ahead
        refused = await refusal(desk.passkey_finish(begun, assertion))
        assert refused.number is Number.SIGN_IN_REFUSED
    desk.platform.ahead = MAX_LIFE - 5
    assert await desk.passkey_finish(begun, assertion)


async def test_handles_of_other_purposes_and_bent_ones_are_refused(desk):
    begun = await desk.passkey_begin()
    assertion = BOB.sign_in(begun.challenge)
    ticket = (await desk.passkey_finish(begun, assertion)).ticket.sealed
    bent = bytearray(begun.handle)
    bent[40] ^= 1
    for handle in (b"", ticket, bytes(bent), begun.handle[:-1]):
        assert (await refusal(desk.passkey_finish(begun, assertion, handle=handle))).number is Number.REFUSED
    with pytest.raises(Refused):
        desk.sealer.open(Domain.TICKET, begun.handle, type(None))


async def test_a_capsule_of_another_vault_is_refused(desk):
    """The handle names the Vault that it was begun for."""
    begun = await desk.passkey_begin()
    elsewhere = desk.capsule(desk.passkeys, vault=b"W" * 32)
    refused = await refusal(desk.passkey_finish(begun, BOB.sign_in(begun.challenge), capsule=elsewhere))
    assert refused.number is Number.REFUSED
    assert (await refusal(desk.passkey_begin(capsule=elsewhere))).number is Number.REFUSED


# --- another page, another person, nobody there ------------------------------------------------------------------

BENT: dict[str, tuple[dict[str, Any], str]] = {
    "a page of another origin": ({"origin": "https://share.test.evil.example"}, "page"),
    "a page below ours that is not listed": ({"origin": "https://evil.share.test"}, "page"),
    "our page without TLS": ({"origin": "http://share.test"}, "page"),
    "our page on another port": ({"origin": "https://share.test:8443"}, "page"),
    "our page in another's frame": ({"crossOrigin": True}, "frame"),
    "our page in another's frame, by the newer member": ({"topOrigin": "https://evil.example"}, "frame"),
    "another relying party": ({"rp_id": "evil.example"}, "relying party"),
    "no user verification": ({"flags": PRESENT}, "not verified"),
    "nobody present": ({"flags": VERIFIED}, "not verified"),
    "backed up without being eligible": ({"flags": PRESENT | VERIFIED | BACKED_UP}, "backed up"),
    "a registration": ({"type": "webauthn.create"}, "something else"),
    "a payment": ({"type": "payment.get"}, "something else"),
    "no type": ({"type": None}, "can't be read"),
    "crossOrigin that is no boolean": ({"crossOrigin": "false"}, "can't be read"),
    "a padded challenge": ({"challenge": "A" * 43 + "="}, "challenge"),
}


@pytest.mark.parametrize("name", BENT)
async def test_what_the_browser_or_the_authenticator_says_must_hold(desk, name):
    bent, words = BENT[name]
    refused = await refusal(desk.passkey_sign_in(BOB, **bent))
    assert isinstance(refused, Untrusted)
    assert refused.number is Number.TOKEN_UNTRUSTED
    assert words in refused.reason


async def test_synchronised_passkeys_are_passkeys(desk):
    assert await desk.passkey_sign_in(BOB, flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP)


async def test_a_passkey_that_the_method_does_not_list_is_refused(desk):
    stranger = SoftwarePasskey()
    assert (await refusal(desk.passkey_sign_in(stranger))).number is Number.SIGN_IN_REFUSED
    begun = await desk.passkey_begin()
    posing = replace(stranger.sign_in(begun.challenge), credential_id=BOB.credential_id)
    assert (await refusal(desk.passkey_finish(begun, posing))).reason == "bad signature"


async def test_one_listed_passkey_does_not_sign_in_as_another_person(desk):
    eve = SoftwarePasskey("eve@example.com")
    desk.passkeys = method_of(BOB, eve)
    begun = await desk.passkey_begin()
    posing = replace(eve.sign_in(begun.challenge), credential_id=BOB.credential_id)
    assert (await refusal(desk.passkey_finish(begun, posing))).reason == "bad signature"
    assert (await desk.passkey_sign_in(eve)).subject == "eve@example.com"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_altered_parts_do_not_verify(desk, algorithm):
    passkey = SoftwarePasskey(algorithm=algorithm)
    desk.passkeys = method_of(passkey)
    begun = await desk.passkey_begin()
    good = passkey.sign_in(begun.challenge)
    data = good.authenticator_data
    for bent in (
        {"client_data": good.client_data + b" "},
        {"client_data": good.client_data.replace(b'"crossOrigin": false', b'"crossOrigin":false ')},
        {"authenticator_data": data[:33] + b"\x00\x00\x00\x01"},
        {"authenticator_data": data + b"\x00"},
        {"signature": good.signature[:-1] + bytes([good.signature[-1] ^ 1])},
        {"signature": b""},
    ):
        refused = await refusal(desk.passkey_finish(begun, replace(good, **bent)))
        assert (refused.number, refused.reason) == (Number.TOKEN_UNTRUSTED, "bad signature")
    for bent, words in (
        ({"authenticator_data": data[:36]}, "too short"),
        ({"authenticator_data": data[:32]}, "too short"),
        ({"authenticator_data": b""}, "too short"),
        ({"client_data": b"{"}, "can't be read"),
        ({"client_data": b""}, "can't be read"),
    ):
        refused = await refusal(desk.passkey_finish(begun, replace(good, **bent)))
        assert refused.number is Number.TOKEN_UNTRUSTED
        assert words in refused.reason


async def test_client_data_nested_without_end_is_refused(desk):
    begun = await desk.passkey_begin()
    deep = b'{"x":' + b"[" * 4000
    refused = await refusal(desk.passkey_finish(begun, replace(BOB.sign_in(begun.challenge), client_data=deep)))
    assert refused.number is Number.TOKEN_UNTRUSTED


# --- copies -------------------------------------------------------------------------------------------------------


async def test_a_passkey_that_counts_leaves_a_mark_which_its_copy_can_not_pass(desk):
    """The Vault commits it and lets it rise only: the copy, which is behind, or the original after it, is noticed."""
    begun = await desk.passkey_begin()
    first = BOB.sign_in(begun.challenge, counter=7)
    copied = BOB.sign_in(begun.challenge, counter=7)
    (original,) = desk.facts(await desk.passkey_finish(begun, first))
    (copy,) = desk.facts(await desk.passkey_finish(begun, copied))
    assert original.mark is not None
    assert original.mark.name == digest(Domain.MARK, desk.passkey_digest, BOB.credential_id)
    assert (original.mark.value, original.mark.expires_at) == (7, 0)
    assert original.mark.token == digest(Domain.MARK, first.signature)
    assert (copy.mark.name, copy.mark.value) == (original.mark.name, 7)
    assert copy.mark.token != original.mark.token


async def test_passkeys_that_do_not_count_leave_no_mark(desk):
    (fact,) = desk.facts(await desk.passkey_sign_in(BOB))
    assert fact.mark is None


async def test_one_person_has_several_passkeys_each_with_a_mark_of_its_own(desk):
    other = SoftwarePasskey()
    desk.passkeys = method_of(BOB, other)
    found = [desk.facts(await desk.passkey_sign_in(key, counter=3))[0] for key in (BOB, other)]
    assert {fact.subject for fact in found} == {"bob@example.com"}
    assert len({fact.mark.name for fact in found}) == 2


# --- methods of one kind used as the other -----------------------------------------------------------------------


async def test_each_kind_of_method_serves_only_its_own_sign_ins(desk):
    capsule = desk.capsule(desk.method, desk.passkeys)
    common = {"vault_cluster": VAULT, "capsule": capsule}
    redeem: dict[str, Any] = {
        "redirect_uri": "",
        "code": "c",
        "code_verifier": "v" * 43,
        "salt": bytes(32),
        "with_ticket": None,
    }
    for request in (
        Begin(**common, method=desk.passkey_digest, channel="web"),
        Redeem(**common, method=desk.passkey_digest, channel="web", **redeem),
        DeviceBegin(**common, method=desk.passkey_digest),
        Challenge(**common, method=bytes(32)),
    ):
        assert (await refusal(desk.service.handle(desk.caller(), request))).number is Number.UNKNOWN_METHOD
    begun = await desk.challenged("passkey", desk.method)
    finish = desk.passkey_finish(begun, BOB.sign_in(begun.challenge), capsule=capsule)
    assert (await refusal(finish)).number is Number.UNKNOWN_METHOD


# --- methods that are not valid ----------------------------------------------------------------------------------

POINT = BOB.public.public_key


def _rsa_key(bits: int, exponent: int = 65537) -> bytes:
    public = rsa.generate_private_key(exponent, bits).public_key().public_numbers()
    size = (exponent.bit_length() + 7) // 8
    return cose({1: 3, 3: -257, -1: public.n.to_bytes(bits // 8, "big"), -2: public.e.to_bytes(size, "big")})


KEYS = {
    "nothing like a key": b"key",
    "a point that is not on the curve": POINT[:-1] + bytes([POINT[-1] ^ 1]),
    "ES256 with a byte behind it": POINT + b"\x00",
    "ES256 under another algorithm": POINT.replace(b"\x03\x26", b"\x03\x27", 1),
    "members in another order": cose({3: -7, 1: 2, -1: 1, -2: POINT[10:42], -3: POINT[45:]}),
    "a member too many": cose({1: 2, 2: b"kid", 3: -7, -1: 1, -2: POINT[10:42], -3: POINT[45:]}),
    "a member named otherwise in place of y": cose({1: 2, 3: -7, -1: 1, -2: POINT[10:42], -4: POINT[45:]}),
    "ES384": cose({1: 2, 3: -35, -1: 2, -2: bytes(48), -3: bytes(48)}),
    "Ed25519 cut short": SoftwarePasskey(algorithm="EdDSA").cose_key[:-1],
    "RSA of 1024 bits": _rsa_key(1024),
    "RSA with exponent 3": _rsa_key(2048, 3),
    "RSA with an exponent of as many bytes": _rsa_key(2048)[:-1] + b"\x03",
    "RSA without end": cose({1: 3, 3: -257, -1: b"\xff" * 600, -2: b"\x01\x00\x01"}),
    "an even RSA modulus": cose({1: 3, 3: -257, -1: b"\xff" * 255 + b"\xfe", -2: b"\x01\x00\x01"}),
    "RSA, the modulus with a zero before it": cose({1: 3, 3: -257, -1: b"\x00" + b"\xff" * 255, -2: b"\x01\x00\x01"}),
}


def _with(rp_id=RP_ID, origins=(ORIGIN,), passkeys=(BOB.public,)):
    return passkey_method(rp_id, origins, passkeys)


METHODS = {
    "rp_id in capitals": _with(rp_id="Share.test"),
    "rp_id that is a host of one label": _with(rp_id="test", origins=["https://share.test"]),
    "rp_id that is an address": _with(rp_id="192.0.2.1", origins=["https://192.0.2.1"]),
    "rp_id with a port": _with(rp_id="share.test:443"),
    "rp_id that is empty": _with(rp_id=""),
    "localhost, on hardware": _with(rp_id="localhost", origins=["http://localhost:8080"]),
    "localhost with https, on hardware": _with(rp_id="localhost", origins=["https://localhost"]),
    "an origin of another domain": _with(origins=[ORIGIN, "https://evil.example"]),
    "an origin that only ends alike": _with(origins=["https://evilshare.test"]),
    "an origin above rp_id": _with(rp_id="pages.share.test"),
    "an origin without TLS": _with(origins=["http://share.test"]),
    "an origin with a path": _with(origins=[ORIGIN + "/"]),
    "an origin with its default port": _with(origins=[ORIGIN + ":443"]),
    "an origin in capitals": _with(origins=["https://Share.test"]),
    "an origin with a user": _with(origins=["https://a@share.test"]),
    "an origin of an app": _with(origins=["android:apk-key-hash:abc"]),
    "an origin twice": _with(origins=[ORIGIN, ORIGIN]),
    "a passkey twice": _with(passkeys=[BOB.public, changed(BOB.public, person="eve@example.com")]),
    "public ids that are not the passkeys'": changed(
        _with(), public=changed(_with().public, credential_ids=[b"another"])),
    "public ids of fewer passkeys": changed(
        _with(passkeys=[BOB.public, SoftwarePasskey().public]), public=_with().public),
    "a person without a name": _with(passkeys=[changed(BOB.public, person="")]),
    "a person with a look-alike name": _with(passkeys=[changed(BOB.public, person="b\u043eb@example.com")]),
    **{name: _with(passkeys=[changed(BOB.public, public_key=key)]) for name, key in KEYS.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
async def test_passkey_methods_that_are_not_valid_are_named_by_their_index(desk, monkeypatch, name):
    monkeypatch.setattr(Platform, "kind", "sgx")
    request = Validate(instructions=stored(oidc_method("https://login.test", "c"), METHODS[name]))
    with pytest.raises(Misuse) as caught:
        await desk.service.handle(desk.caller(VAULT_PEER), request)
    assert (caught.value.number, caught.value.place) == (Number.METHOD_INVALID, 1)
    # Nor does a sign-in work by one that got past `store` elsewhere.
    desk.passkeys = METHODS[name]
    assert (await refusal(desk.passkey_begin())).number is Number.METHOD_INVALID


@pytest.mark.parametrize(
    ("rp_id", "origin"),
    [(RP_ID, ORIGIN), (RP_ID, "https://pages.share.test:8443"), ("pages.share.test", "https://pages.share.test")],
)
async def test_ordinary_passkey_methods_are_valid(desk, monkeypatch, rp_id, origin):
    monkeypatch.setattr(Platform, "kind", "sgx")
    request = Validate(instructions=stored(_with(rp_id=rp_id, origins=[origin])))
    assert (await desk.service.handle(desk.caller(VAULT_PEER), request)).permitted


async def test_localhost_serves_the_insecure_platform_alone(desk):
    desk.passkeys = method_of(BOB, rp_id="localhost", origin="http://localhost:5173")
    assert await desk.passkey_sign_in(BOB, rp_id="localhost", origin="http://localhost:5173")
    desk.passkeys = method_of(BOB, origin="http://share.test")
    assert (await refusal(desk.passkey_begin())).number is Number.METHOD_INVALID
