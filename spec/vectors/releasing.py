"""Vectors of lists of releases: who approved them, for whom, what follows what, and which programs they accept."""

from __future__ import annotations

from hashlib import sha512
from typing import Any

from case import Case, Cases, accepted, fixed, flipped, refused
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec.structs import replace

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.releases import NAMESPACE, Approval, ListedRelease, Program, ReleaseList, SignedReleases

HERE = "releases/"
CLUSTER = fixed("released cluster")


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _integer(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _signed(statement: bytes, namespace: bytes) -> bytes:
    return b"SSHSIG" + b"".join(map(_string, (namespace, b"", b"sha512", sha512(statement).digest())))


class _Ed25519:
    def __init__(self, label: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(fixed(label))
        self.public = _string(b"ssh-ed25519") + _string(self._key.public_key().public_bytes_raw())

    def approve(self, statement: bytes, namespace: bytes = NAMESPACE) -> Approval:
        signature = _string(b"ssh-ed25519") + _string(self._key.sign(_signed(statement, namespace)))
        return Approval(key=self.public, signature=signature)


class _P256:
    def __init__(self, label: str) -> None:
        self._scalar = fixed(label)
        self.public = b"".join(
            map(_string, (b"ecdsa-sha2-nistp256", b"nistp256", SigningKey.from_scalar(self._scalar).public))
        )

    def approve(self, statement: bytes, namespace: bytes = NAMESPACE) -> Approval:
        key = ec.derive_private_key(int.from_bytes(self._scalar, "big"), ec.SECP256R1())
        how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(key.sign(_signed(statement, namespace), how))
        signature = _string(b"ecdsa-sha2-nistp256") + _string(_integer(r) + _integer(s))
        return Approval(key=self.public, signature=signature)


WHO = (_Ed25519("approver 0"), _P256("approver 1"), _Ed25519("approver 2"))
STRANGER = _Ed25519("approver of another cluster")
APPROVERS = [one.public for one in WHO]
OLD, NEW, RETIRED = (Program(kind="sgx", measurement=fixed(f"{name} program")) for name in ("old", "new", "retired"))
LIST = ReleaseList(
    version=1,
    cluster=CLUSTER,
    role="vault",
    serial=7,
    min_svn=2,
    releases=[
        ListedRelease(version="1.4.0", svn=2, programs=[OLD]),
        ListedRelease(version="1.5.0", svn=3, programs=[NEW, Program(kind="snp", measurement=fixed("new on SNP", 48))]),
        ListedRelease(version="1.3.0", svn=1, programs=[RETIRED]),
    ],
)


def signed(releases: ReleaseList = LIST, *who: Any, namespace: bytes = NAMESPACE) -> bytes:
    """Encoded, and approved by `who`, else by the first two approvers."""
    statement = encode(releases)
    return encode(
        SignedReleases(statement=statement, approvals=[one.approve(statement, namespace) for one in who or WHO[:2]])
    )


RELEASES = signed()


def every() -> list[Case]:
    return [*_good(), *_bad(), *_programs(), *_following()]


def _given(releases: bytes, **fields: Any) -> dict[str, Any]:
    values = {"releases": releases, "cluster": CLUSTER, "role": "vault", "approvers": APPROVERS, "approvals": 2}
    return values | fields


def _good() -> Cases:
    run = "verify releases"
    yield accepted(HERE + "by-enough", "two of three approvers", run, _given(RELEASES), serial=7)
    yield accepted(HERE + "by-all", "all three", run, _given(signed(LIST, *WHO)), serial=7)
    longest = replace(LIST, releases=[replace(LIST.releases[0], version="~" * 63 + "!")])
    what = "a version of 64 characters, of the first and the last that may be in it"
    yield accepted(HERE + "version-of-64-characters", what, run, _given(signed(longest)), serial=7)


def _bad() -> Cases:
    run = "verify releases"
    statement = encode(LIST)
    one, other = WHO[0].approve(statement), WHO[1].approve(statement)
    bent = replace(one, signature=flipped(one.signature, 40))
    doubled = replace(LIST, releases=[*LIST.releases, ListedRelease(version="1.6.0", svn=9, programs=[RETIRED])])
    renamed = replace(LIST, releases=[LIST.releases[0], replace(LIST.releases[1], version="1.4.0")])

    def named(version: str) -> dict[str, Any]:
        return _given(signed(replace(LIST, releases=[replace(LIST.releases[0], version=version)])))

    def of(*approvals: Approval, text: bytes = statement) -> bytes:
        return encode(SignedReleases(statement=text, approvals=list(approvals)))

    bad = {
        "by-too-few": ("one approver, where it takes two", _given(signed(LIST, WHO[0]))),
        "by-nobody": ("nobody signed it", _given(of())),
        "by-one-twice": ("one approver signed twice", _given(of(one, one))),
        "by-one-who-is-listed-twice": (
            "one approver, whose key stands twice among the approvers",
            _given(signed(LIST, WHO[0]), approvers=[WHO[0].public, WHO[0].public]),
        ),
        "by-a-stranger": ("one of two is no approver", _given(signed(LIST, WHO[0], STRANGER))),
        "by-enough-and-a-stranger": ("somebody signed who is no approver", _given(signed(LIST, *WHO, STRANGER))),
        "without-approvers": (
            "a council without approvers approves nothing",
            _given(of(), approvers=[], approvals=0),
        ),
        "of-another-cluster": (
            "approved for another cluster",
            _given(signed(replace(LIST, cluster=fixed("other cluster")))),
        ),
        "of-another-role": ("approved for Authenticators", _given(signed(replace(LIST, role="authenticator")))),
        "names-a-program-twice": (
            "a retired program once more, with another security version",
            _given(signed(doubled)),
        ),
        "names-a-version-twice": ("one version for two programs", _given(signed(renamed))),
        "version-with-blanks": (
            "blanks that push what stands beside a version out of sight",
            named("1.5.0" + 40 * " "),
        ),
        "version-of-a-blank": ("a version with a blank in it", named("1.5.0 =")),
        "version-in-other-letters": ("a version with letters that are not ASCII", named("1.5.0\u3164")),
        "version-of-nothing": ("a version without a character", named("")),
        "version-of-65-characters": ("a version of 65 characters", named("1" * 65)),
    }
    for name, (what, given) in bad.items():
        yield refused(HERE + name, what, run, given, Number.INTEGRITY, "releases")
    untrusted = {
        "bent-signature": ("a bit of a signature flipped", of(bent, other)),
        "bent-list": ("a serial raised after it was signed", of(one, other, text=encode(replace(LIST, serial=8)))),
        "signed-for-a-sign-in": ("signed under the namespace of sign-ins", signed(namespace=b"strongroom")),
        "signed-as-a-file": ("signed under the namespace of files", signed(namespace=b"file")),
        "under-another-key": (
            "one approver's signature under another's key",
            of(replace(one, key=WHO[2].public), other),
        ),
    }
    for name, (what, releases) in untrusted.items():
        yield refused(HERE + name, what, run, _given(releases), Number.TOKEN_UNTRUSTED, "releases")
    broken = {
        "trailing-byte": ("a byte after the end", RELEASES + b"\x00"),
        "empty": ("nothing", b""),
        "list-trailing-byte": ("a byte after the end of what was signed", of(one, other, text=statement + b"\x00")),
    }
    for name, (what, releases) in broken.items():
        yield refused(HERE + name, what, run, _given(releases), Number.EVIDENCE, "releases")


def _programs() -> Cases:
    run = "released"
    both = [
        ("program-listed", "a program that the list names", NEW, 7),
        ("program-of-before", "an older program that stands in the list still", OLD, 0),
    ]
    for name, what, program, serial in both:
        yield accepted(HERE + name, what, run, _asked(program, serial), serial=7)
    bad = {
        "program-retired": ("a program that no longer stands in the list", Program("sgx", fixed("gone program")), 0),
        "program-below-min-svn": ("listed, with a security version below the lowest", RETIRED, 0),
        "program-of-another-platform": ("the same registers on another platform", replace(NEW, kind="tdx"), 0),
        "program-of-an-older-list": ("the list is older than the client's floor", NEW, 8),
    }
    for name, (what, program, serial) in bad.items():
        yield refused(HERE + name, what, run, _asked(program, serial), Number.POLICY, "releases")


def _asked(program: Program, min_serial: int) -> dict[str, Any]:
    return _given(RELEASES, kind=program.kind, measurement=program.measurement, min_serial=min_serial)


def _following() -> Cases:
    run = "releases follow"
    yield accepted(HERE + "first", "the first list", run, {"next": replace(LIST, serial=1), "current": None})
    yield accepted(
        HERE + "next", "one serial later", run, {"next": replace(LIST, serial=8, min_svn=3), "current": LIST}
    )
    bad = {
        "next-is-older": ("an older list put back", replace(LIST, serial=6)),
        "next-is-equal": ("another list with the same serial", replace(LIST, min_svn=3)),
        "next-skips": ("a serial left out: it may have retired what this one names", replace(LIST, serial=9)),
        "next-lowers-min-svn": ("the lowest security version falls", replace(LIST, serial=8, min_svn=1)),
    }
    for name, (what, releases) in bad.items():
        yield refused(HERE + name, what, run, {"next": releases, "current": LIST}, Number.RELEASE_INVALID, "releases")
    what = "the first list is not number 1"
    yield refused(HERE + "first-skips", what, run, {"next": LIST, "current": None}, Number.RELEASE_INVALID, "releases")
