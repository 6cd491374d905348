"""Vectors of the primitives and of everything that is a digest of exact bytes."""

from __future__ import annotations

import hashlib

from case import Case, Cases, accepted, fixed, flipped, kept, refused, sign
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from wire import kinds

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import (
    Audience,
    AuthenticatorRef,
    Instructions,
    Kind,
    OidcMethod,
    OidcPublic,
    OidcSecret,
    Passkey,
    PasskeyMethod,
    PasskeyPublic,
    bound_nonce,
    instructions_digest,
    method_digest,
    rules_digest,
    sign_in_challenge,
    workload_audience,
)
from strongroom.protocol.primitives import (
    Domain,
    KemKey,
    SigningKey,
    derive_key,
    digest,
    expand_key,
    frame_parts,
    kem_seal,
    keyed_hash,
    pad,
    seal_once,
)
from strongroom.protocol.session import key_id

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PARTS = [b"", b"\x00", b"strongroom"]

BINDING = SigningKey.from_scalar(fixed("binding scalar"))
VAULT_CLUSTER = fixed("vault cluster")
ALICE = OidcMethod(
    public=OidcPublic(
        issuer="https://login.example/realms/keys",
        audiences=[
            Audience(channel="native", client_id="strongroom-native", redirect_uri="http://127.0.0.1/callback"),
            Audience(channel="web", client_id="strongroom-web", redirect_uri="https://keys.example/callback"),
        ],
        scopes=["email"],
    ),
    secret=OidcSecret(client_secret=""),
    algorithms=["RS256", "ES256"],
    email_domains=[],
    acr_values=[],
    max_age=0,
    pushed=False,
)
METHOD = encode(ALICE)
PASSKEYS = encode(
    PasskeyMethod(
        public=PasskeyPublic(
            rp_id="share.example", origins=["https://share.example"], credential_ids=[fixed("credential id", 16)]
        ),
        passkeys=[
            Passkey(
                person="bob@example.com",
                credential_id=fixed("credential id", 16),
                # An ES256 key in canonical form, around the point of the binding key.
                public_key=bytes.fromhex("a5010203262001215820")
                + BINDING.public[1:33]
                + bytes.fromhex("225820")
                + BINDING.public[33:],
            )
        ],
    )
)
RULES = """\
permit (principal, action == Action::"collect", resource)
when { context.identity has email && context.identity.email == "recipient@example.com" && !context.identity.phishable };
permit (principal, action in [Action::"update", Action::"delete"], resource)
when { context.identity.principal == context.record.depositor };
"""
INSTRUCTIONS = Instructions(
    schema_version=1,
    authenticators=[AuthenticatorRef(url="https://auth.example", policy=fixed("some policy", 40))],
    quorum=1,
    methods=[METHOD],
    rules=RULES,
    permanent=False,
)


def primitives() -> Cases:
    here = "primitives/"
    yield accepted(
        here + "framed-parts",
        "label, zero byte, then each part after its length in 8 bytes",
        "frame parts",
        {"domain": "hello", "parts": PARTS},
        framed=frame_parts(Domain.HELLO, *PARTS),
    )
    yield accepted(
        here + "framed-no-parts",
        "label and zero byte alone",
        "frame parts",
        {"domain": "ring handle", "parts": []},
        framed=frame_parts(Domain.RING_HANDLE),
    )
    yield accepted(
        here + "digest",
        "SHA-256 over framed parts",
        "digest",
        {"domain": "transcript", "parts": PARTS},
        digest=digest(Domain.TRANSCRIPT, *PARTS),
    )
    key, salt = fixed("key"), fixed("salt")
    yield accepted(
        here + "keyed-hash",
        "HMAC-SHA256 over framed parts",
        "keyed hash",
        {"key": key, "domain": "record handle", "parts": PARTS},
        hash=keyed_hash(key, Domain.RECORD_HANDLE, *PARTS),
    )
    yield accepted(
        here + "derive-key",
        "HKDF-SHA256 with framed parts as info",
        "derive key",
        {"secret": key, "salt": salt, "domain": "answer", "parts": PARTS},
        key=derive_key(key, Domain.ANSWER, *PARTS, salt=salt),
    )
    yield accepted(
        here + "expand-key",
        "HKDF-Expand alone",
        "expand key",
        {"key": key, "domain": "ratchet step", "parts": []},
        key=expand_key(key, Domain.RATCHET_STEP),
    )
    yield accepted(
        here + "seal-once",
        "AES-256-GCM with the all-zero nonce",
        "open once",
        {"key": key, "associated": b"associated", "sealed": seal_once(key, b"secret", b"associated")},
        plaintext=b"secret",
    )
    yield refused(
        here + "seal-once-other-associated-data",
        "sealed with other associated data",
        "open once",
        {"key": key, "associated": b"associated", "sealed": seal_once(key, b"secret", b"Associated")},
        Number.INTEGRITY,
        "AES-GCM",
    )
    yield from _kem()
    yield from _signatures()
    yield from _padding()


def _kem() -> Cases:
    here = "primitives/"
    kem = KemKey(fixed("kem seed"))
    yield accepted(
        here + "kem-key-from-seed",
        "public key of a 32-byte X-Wing seed, and its key id",
        "kem key",
        {"seed": fixed("kem seed")},
        public=kem.public,
        key_id=key_id(kem.public),
    )

    def verify(sealed: bytes) -> bool:
        return kem.open(sealed, Domain.HELLO, b"info") == b"secret"

    sealed = kept(here + "hpke", "sealed", verify, lambda: kem_seal(kem.public, b"secret", Domain.HELLO, b"info"))
    base = {"seed": fixed("kem seed"), "domain": "hello", "parts": [b"info"]}
    yield accepted(
        here + "hpke",
        "HPKE base mode, info = framed parts, no associated data",
        "hpke open",
        base | {"sealed": sealed},
        plaintext=b"secret",
    )
    for name, what, change in (
        ("hpke-other-info", "opened with another part in the info", {"sealed": sealed, "parts": [b"Info"]}),
        ("hpke-other-domain", "opened under another domain", {"sealed": sealed, "domain": "server seed"}),
        ("hpke-flipped-encapsulation", "a bit of the encapsulated key flipped", {"sealed": flipped(sealed, 100)}),
        ("hpke-flipped-ciphertext", "a bit of the ciphertext flipped", {"sealed": flipped(sealed, 1120)}),
        ("hpke-cut-short", "shorter than an encapsulated key", {"sealed": sealed[:1119]}),
    ):
        yield refused(here + name, what, "hpke open", base | change, Number.INTEGRITY, "HPKE")


def _signatures() -> Cases:
    here = "primitives/signature-"
    parts = [fixed("transcript")]
    signature = sign(BINDING.scalar, Domain.PROOF, *parts)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    x_and_y = BINDING.public[1:]
    compressed = bytes([2 + x_and_y[63] % 2]) + x_and_y[:32]
    base = {"public": BINDING.public, "domain": "proof", "parts": parts, "signature": signature}
    yield accepted(here + "good", "raw r ‖ s over framed parts", "verify signature", base)
    yield accepted(
        here + "high-s",
        "s replaced by n − s: valid, since signatures are never used as identifiers",
        "verify signature",
        base | {"signature": signature[:32] + (ORDER - s).to_bytes(32, "big")},
    )
    bad = {
        "flipped": ("a bit flipped", {"signature": flipped(signature, 63)}),
        "der": ("DER form instead of raw", {"signature": encode_dss_signature(r, s)}),
        "too-long": ("a zero byte before r", {"signature": b"\x00" + signature}),
        "too-short": ("63 bytes", {"signature": signature[:63]}),
        "zero": ("r and s are zero", {"signature": bytes(64)}),
        "r-not-reduced": ("r is the group's order", {"signature": ORDER.to_bytes(32, "big") + signature[32:]}),
        "other-domain": ("made under another domain label", {"domain": "claims signature"}),
        "other-part": ("made over another transcript", {"parts": [fixed("other transcript")]}),
        "other-key": ("made by another key", {"public": SigningKey.from_scalar(fixed("other scalar")).public}),
        "compressed-key": ("public key in compressed form", {"public": compressed}),
        "key-off-curve": ("public key is no point of the curve", {"public": flipped(BINDING.public, 64)}),
    }
    for name, (what, change) in bad.items():
        yield refused(here + name, what, "verify signature", base | change, Number.INTEGRITY, "signature")


def _padding() -> Cases:
    for size in (0, 1, 254, 255, 256, 511, 512):
        message = fixed("message", size)
        yield accepted(
            f"primitives/padding-of-{size}-bytes",
            f"a message of {size} bytes and its one padding",
            "unpad",
            {"padded": pad(message)},
            message=message,
        )
    message = b"message"
    for name, what, padded in (
        ("empty", "no bytes at all", b""),
        ("all-zero", "no 80 byte", bytes(256)),
        ("other-marker", "01 instead of 80", message + b"\x01" + bytes(248)),
        ("too-large-bucket", "padded to 512 where 256 suffices", message + b"\x80" + bytes(504)),
        ("not-a-power-of-two", "padded to 255", message + b"\x80" + bytes(247)),
        ("too-small-bucket", "padded to 128", message + b"\x80" + bytes(120)),
        ("rubbish-after-marker", "a byte other than zero after 80", message + b"\x80" + bytes(247) + b"\x01"),
        ("unpadded", "the message alone", message),
    ):
        yield refused(f"primitives/padding-{name}", what, "unpad", {"padded": padded}, Number.INTEGRITY, "padding")


def digests() -> Cases:
    facts = encode(
        kinds.RecordFacts(
            kind="secret",
            depositor=f"{method_digest(METHOD).hex()}:alice",
            approvals=[],
            idle_days=None,
            time=None,
        )
    )
    request = encode(
        kinds.DecisionRequest(
            request_id=fixed("request id", 16),
            vault_cluster=VAULT_CLUSTER,
            binding_key=BINDING.public,
            action="collect",
            rules_digest=rules_digest(RULES),
            instructions_digest=instructions_digest(encode(INSTRUCTIONS)),
            context_digest=kinds.context_digest(facts),
            records=[kinds.RecordRef(handle=fixed("handle"), version=1)],
        )
    )
    whole = encode(INSTRUCTIONS)
    for name, exact, value in (
        ("method", METHOD, method_digest(METHOD)),
        ("instructions", whole, instructions_digest(whole)),
        ("rules", RULES.encode(), rules_digest(RULES)),
        ("context", facts, kinds.context_digest(facts)),
        ("decision", request, kinds.decision_digest(request)),
    ):
        yield accepted(
            f"digests/{name}",
            f"digest of exact bytes under the domain {name}",
            "digest of",
            {"domain": name, "exact": exact},
            digest=value,
        )


def nonces() -> Cases:
    for name, salt in (("nonce", fixed("nonce salt")), ("nonce-other-salt", bytes(32))):
        method = method_digest(METHOD)
        yield accepted(
            f"nonce/{name}",
            "OIDC nonce bound to method, binding key and salt",
            "nonce",
            {"method": method, "binding_key": BINDING.public, "salt": salt},
            nonce=bound_nonce(method, BINDING.public, salt),
        )
    kinds_of_challenge: tuple[Kind, ...] = ("passkey", "keys", "enclave")
    for kind in kinds_of_challenge:
        method, salt = method_digest(PASSKEYS), fixed("challenge salt")
        yield accepted(
            f"nonce/{kind}-challenge",
            "challenge bound to the kind of sign-in, method, binding key and salt",
            "sign-in challenge",
            {"kind": kind, "method": method, "binding_key": BINDING.public, "salt": salt},
            challenge=sign_in_challenge(kind, method, BINDING.public, salt),
        )
    yield accepted(
        "nonce/workload-audience",
        "audience of a workload's token, which names Authenticator and binding key",
        "workload audience",
        {"authenticator_cluster": VAULT_CLUSTER, "binding_key": BINDING.public},
        audience=workload_audience(VAULT_CLUSTER, BINDING.public),
    )
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = hashlib.sha256(verifier.encode()).digest()
    yield accepted(
        "nonce/code-challenge",
        "PKCE challenge before base64url (RFC 7636 appendix B), as the client puts it into the authorization request",
        "code challenge",
        {"verifier": verifier},
        digest=challenge,
    )


def every() -> list[Case]:
    return [*primitives(), *digests(), *nonces()]
