"""Vectors of the log: verifier keys, checkpoints, cosignatures and the two proofs.

The tree of 70 leaves, its proofs and the notes of `GO_SEED` are byte for byte what golang.org/x/mod/sumdb (tlog, note)
makes of the same leaves and the same key.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Sequence

from case import Case, Cases, accepted, fixed, refused

from strongroom.protocol.errors import Number
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.notes import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    SignedCheckpoint,
    Verifier,
    cosign,
    sign_checkpoint,
)
from strongroom.protocol.primitives import NoteKey
from strongroom.protocol.tlog import leaf_hash, node_hash

HERE = "log/"
GO_SEED = b"\x01" * 32
GO_NAME = "example.com/behind-the-sofa"
LEAVES = [leaf_hash(b"leaf %d" % index) for index in range(70)]
KEY = NoteKey(fixed("log seed"))
ORIGIN = log_origin(fixed("vault cluster"))
LOG = Verifier(ORIGIN, ED25519, KEY.public)
WITNESSES = [NoteKey(fixed(f"witness {n}")) for n in range(3)]
NAMES = [f"witness.example/w{n}" for n in range(3)]
VKEYS = [str(Verifier(name, COSIGNATURE, key.public)) for name, key in zip(NAMES, WITNESSES, strict=True)]
TIME = 1_790_000_000


def every() -> list[Case]:
    return [*_keys(), *_checkpoints(), *_bad_checkpoints(), *_cosignatures(), *_inclusion(), *_consistency()]


def _root(first: int, end: int) -> bytes:
    if first == end:
        return hashlib.sha256().digest()
    if end - first == 1:
        return LEAVES[first]
    middle = first + _split(end - first)
    return node_hash(_root(first, middle), _root(middle, end))


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _path(index: int, first: int, end: int) -> list[bytes]:
    """PATH of RFC 6962 2.1.1."""
    if end - first == 1:
        return []
    middle = first + _split(end - first)
    if index < middle:
        return [*_path(index, first, middle), _root(middle, end)]
    return [*_path(index, middle, end), _root(first, middle)]


def _subproof(old: int, first: int, end: int, known: int) -> list[bytes]:
    """SUBPROOF of RFC 6962 2.1.2; `known` is 1 while the verifier has the root of what is left."""
    if old == end:
        return [] if known else [_root(first, end)]
    middle = first + _split(end - first)
    if old <= middle:
        return [*_subproof(old, first, middle, known), _root(middle, end)]
    return [*_subproof(old, middle, end, 0), _root(first, middle)]


def _keys() -> Cases:
    for name, what, verifier in (
        ("key-of-a-log", "the verifier key of a log", LOG),
        ("key-of-a-witness", "the verifier key of a witness", Verifier(NAMES[0], COSIGNATURE, WITNESSES[0].public)),
        ("key-not-ascii", "a name that is not ASCII", Verifier("w.example/größe", ED25519, KEY.public)),
    ):
        outputs = {"key_name": verifier.name, "key_id": verifier.key_id, "public": verifier.public}
        yield accepted(HERE + name, what, "verifier key", {"vkey": str(verifier), "type": verifier.kind}, **outputs)
    good, post_quantum = str(LOG), Verifier(NAMES[0], 6, bytes(1312))
    long_name = Verifier("w.example/" + "a" * 119, COSIGNATURE, KEY.public)
    for name, what, vkey, kind in (
        ("key-of-another-type", "a witness's key where a log's is wanted", VKEYS[0], ED25519),
        ("key-post-quantum", "a witness's key of ML-DSA-44", str(post_quantum), COSIGNATURE),
        ("key-renamed", "another name before the same hash", good.replace("strongroom", "strongRoom"), ED25519),
        ("key-upper-case-hash", "the hash in upper case", _upper(LOG), ED25519),
        ("key-cut-short", "31 bytes of a key", str(Verifier(ORIGIN, ED25519, KEY.public[:31])), ED25519),
        ("key-with-a-blank", "a blank in the name", str(Verifier("w example", ED25519, KEY.public)), ED25519),
        ("key-with-a-plus", "a plus in the name", str(Verifier("w+example", ED25519, KEY.public)), ED25519),
        ("key-no-break-space", "a space of Unicode in the name", str(Verifier("w\xa0e", ED25519, KEY.public)), ED25519),
        ("key-long-name", "a witness's name of 129 bytes", str(long_name), COSIGNATURE),
        ("key-empty", "nothing", "", ED25519),
    ):
        yield refused(HERE + name, what, "verifier key", {"vkey": vkey, "type": kind}, Number.MALFORMED, "checkpoint")


def _upper(verifier: Verifier) -> str:
    name, key_id, key = str(verifier).split("+", 2)
    return f"{name}+{key_id.upper()}+{key}"


def _checkpoints() -> Cases:
    go = NoteKey(GO_SEED)
    for name, what, key, checkpoint in (
        ("checkpoint", "of a Vault's log", KEY, Checkpoint(ORIGIN, 70, _root(0, 70))),
        ("checkpoint-empty", "of a log without leaves", KEY, Checkpoint(ORIGIN, 0, _root(0, 0))),
        ("checkpoint-largest", "of the largest size", KEY, Checkpoint(ORIGIN, 2**63 - 1, bytes(32))),
        ("checkpoint-go", "as Go's sumdb/note signs it", go, Checkpoint(GO_NAME, 70, _root(0, 70))),
    ):
        signed = sign_checkpoint(key, checkpoint)
        inputs = {"note": signed.note, "log": str(Verifier(checkpoint.origin, ED25519, key.public))}
        yield accepted(
            HERE + name, what, "checkpoint", inputs,
            origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root,
        )  # fmt: skip
    signed = sign_checkpoint(KEY, Checkpoint(ORIGIN, 70, _root(0, 70)))
    stranger = f"— witness.example/pq {b64encode(bytes(2432)).decode()}"
    yield accepted(
        HERE + "checkpoint-of-strangers", "with a line of a key that nobody knows, of ML-DSA-44", "checkpoint",
        {"note": SignedCheckpoint(signed.checkpoint, (stranger, *signed.lines)).note, "log": str(LOG)},
        origin=ORIGIN, size=70, root=_root(0, 70),
    )  # fmt: skip


def _bad_checkpoints() -> Cases:
    signed = sign_checkpoint(KEY, Checkpoint(ORIGIN, 70, _root(0, 70)))
    note, line = signed.note, signed.lines[0].encode()
    root = b64encode(_root(0, 70))
    other = NoteKey(fixed("other log seed"))
    forged = b64encode(LOG.key_id + other.sign(signed.checkpoint.body.encode())).decode()
    extended = Checkpoint(ORIGIN, 70, _root(0, 70), ("more",))
    witnessed = cosign(KEY, ORIGIN, signed.checkpoint, TIME)
    for name, what, bent in (
        ("leading-zero", "a size with a zero before it", _resigned(note, b"\n70\n", b"\n070\n")),
        ("plus", "a size with a sign", _resigned(note, b"\n70\n", b"\n+70\n")),
        ("too-large", "a size of 2^63", _resigned(note, b"\n70\n", b"\n9223372036854775808\n")),
        ("other-digits", "a size in digits of another script", _resigned(note, b"\n70\n", "\n٧٠\n".encode())),
        ("short-root", "a root of 31 bytes", _resigned(note, root, b64encode(_root(0, 70)[:31]))),
        ("other-base64", "another spelling of the root: bits after the end", _resigned(note, root, root[:-2] + b"V=")),
        ("no-padding", "base64 without padding", _resigned(note, root, root.rstrip(b"="))),
        ("extension", "a fourth line, signed: other logs may, no Vault's does", sign_checkpoint(KEY, extended).note),
        ("empty-line", "an empty line more, signed", _resigned(note, root + b"\n", root + b"\n\n")),
        ("carriage-return", "lines that end with CR LF, signed", _resigned(note, b"\n70\n", b"\r\n70\r\n")),
        ("byte-order-mark", "a byte order mark before it", b"\xef\xbb\xbf" + note),
        ("not-utf-8", "a byte that is no UTF-8, in a line of a stranger", note + b"\xe2\x80\x94 w\xff AAAAAAA=\n"),
        ("no-signature", "no line of a signature", note.replace(line + b"\n", b"")),
        ("no-end", "no newline at the end", note[:-1]),
        ("stray-line", "a line that is no signature, after one that is", note + b"more\n"),
        ("hyphen", "a hyphen for the dash", note.replace("—".encode(), b"-")),
        ("signature-base64", "another spelling of the signature", _last_bits(note)),
        ("another-log", "signed by its key, of another origin", _of_another()),
        ("another-key", "another key's signature under the right name and hash", _lined(f"— {ORIGIN} {forged}")),
        ("by-nobody", "only another key under the right name", sign_checkpoint(other, signed.checkpoint).note),
        ("cosigned-only", "the log's key as a witness's", _lined(witnessed)),
        ("another-size", "a size changed after it was signed", note.replace(b"\n70\n", b"\n71\n")),
        ("too-long", "more than MAX_CHECKPOINT", note + b"\xe2\x80\x94 w.example AAAAAAA=\n" * 200),
    ):  # fmt: skip
        inputs = {"note": bent, "log": str(LOG)}
        yield refused(f"{HERE}checkpoint-{name}", what, "checkpoint", inputs, Number.INTEGRITY, "checkpoint")


def _resigned(note: bytes, old: bytes, new: bytes) -> bytes:
    """Changed, and signed by the log all the same: only the spelling is wrong."""
    body = note.partition(b"\n\n")[0] + b"\n"
    if old not in body:
        raise ValueError("nothing to change")
    body = body.replace(old, new)
    return body + f"\n— {ORIGIN} {b64encode(LOG.key_id + KEY.sign(body)).decode()}\n".encode()


def _lined(*lines: str) -> bytes:
    return SignedCheckpoint(Checkpoint(ORIGIN, 70, _root(0, 70)), lines).note


def _of_another() -> bytes:
    other = Checkpoint(log_origin(fixed("authenticator cluster")), 70, _root(0, 70))
    line = f"— {ORIGIN} {b64encode(LOG.key_id + KEY.sign(other.body.encode())).decode()}"
    return SignedCheckpoint(other, (line,)).note


def _last_bits(note: bytes) -> bytes:
    """Base64 of 68 bytes ends with one `=`: two bits of the last letter say nothing."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = len(note) - 3
    if note[-2:] != b"=\n":
        raise ValueError("no padding where it was expected")
    return note[:at] + letters[letters.index(note[at]) + 1 :][:1] + note[at + 1 :]


def _cosignatures() -> Cases:
    checkpoint = Checkpoint(ORIGIN, 70, _root(0, 70))
    signed = sign_checkpoint(KEY, checkpoint)
    first = [
        cosign(key, name, checkpoint, TIME + n) for n, (key, name) in enumerate(zip(WITNESSES, NAMES, strict=True))
    ]
    smaller = Checkpoint(ORIGIN, 69, _root(0, 69))
    renamed = Verifier("witness.example/again", COSIGNATURE, WITNESSES[0].public)
    again = cosign(WITNESSES[0], renamed.name, checkpoint, TIME + 9)
    for name, what, lines, witnesses, counted in (
        ("cosigned", "by three of three", first, VKEYS, [(0, 0), (1, 1), (2, 2)]),
        ("cosigned-by-strangers", "by one that is not asked for", first, VKEYS[:2], [(0, 0), (1, 1)]),
        ("cosigned-twice", "twice by one: the later counts", [first[0], _at(0, 5), _at(0, 3)], VKEYS, [(0, 5)]),
        ("cosigned-under-two-names", "by one key under two names: once", [first[0], again], [VKEYS[0], str(renamed)],
         [("witness.example/again", 9)]),
        ("cosigned-another-size", "a cosignature of another size", [first[0], _moved(smaller)], VKEYS, [(0, 0)]),
        ("cosigned-another-time", "a time changed after it was signed", [first[0], _turned(first[1])], VKEYS, [(0, 0)]),
        ("cosigned-time-0", "the time 0: no word about what was seen last", [_at(0, -TIME), first[1]], VKEYS, [(1, 1)]),
        ("cosigned-time-2-63", "a time beyond 2^63 - 1", [_at(0, 2**63 - TIME), first[1]], VKEYS, [(1, 1)]),
        ("cosigned-by-the-log", "the log's own line only", [], VKEYS, []),
    ):  # fmt: skip
        note = signed.with_lines(lines).note
        found = [{"name": NAMES[who] if isinstance(who, int) else who, "time": TIME + later} for who, later in counted]
        yield accepted(
            HERE + name, what, "cosignatures", {"note": note, "witnesses": witnesses}, cosignatures=found
        )  # fmt: skip


def _at(witness: int, later: int) -> str:
    return cosign(WITNESSES[witness], NAMES[witness], Checkpoint(ORIGIN, 70, _root(0, 70)), TIME + later)


def _moved(checkpoint: Checkpoint) -> str:
    return cosign(WITNESSES[1], NAMES[1], checkpoint, TIME)


def _turned(line: str) -> str:
    """One second later than was signed."""
    mark, name, text = line.split(" ")
    raw = b64decode(text)
    time = int.from_bytes(raw[4:12], "big") + 1
    return f"{mark} {name} {b64encode(raw[:4] + time.to_bytes(8, 'big') + raw[12:]).decode()}"


def _inclusion() -> Cases:
    def given(index: int, size: int, proof: Sequence[bytes] | None = None) -> dict[str, object]:
        proof = _path(index, 0, size) if proof is None else list(proof)
        return {"index": index, "leaf": LEAVES[index], "size": size, "root": _root(0, size), "proof": proof}

    for index, size in ((0, 1), (0, 2), (1, 2), (6, 7), (12, 13), (12, 70), (63, 64), (64, 70), (69, 70)):
        name = f"inclusion-{index}-of-{size}"
        yield accepted(HERE + name, f"leaf {index} of {size}", "inclusion", given(index, size))
    right = _path(12, 0, 70)
    for name, what, inputs in (
        ("another-leaf", "another leaf", given(12, 70) | {"leaf": LEAVES[13]}),
        ("another-place", "another place", given(12, 70) | {"index": 13}),
        ("another-size", "another size", given(12, 70) | {"size": 64}),
        ("another-root", "another root", given(12, 70) | {"root": _root(0, 69)}),
        ("beyond", "an index that is the size", given(12, 70) | {"index": 70}),
        ("cut-short", "without the last hash", given(12, 70, right[:-1])),
        ("reversed", "in the other order", given(12, 70, right[::-1])),
        ("longer", "with a hash more", given(12, 70, [*right, right[-1]])),
        ("longer-of-one", "a hash where there is one leaf", given(0, 1, [LEAVES[1]])),
        ("cut-elsewhere", "two hashes as 31 and 33 bytes", given(12, 70, [right[0][:31], right[0][31:] + right[1]])),
    ):
        yield refused(f"{HERE}inclusion-{name}", what, "inclusion", inputs, Number.INTEGRITY, "proof")


def _consistency() -> Cases:
    def given(old: int, size: int, proof: Sequence[bytes] | None = None) -> dict[str, object]:
        if proof is None:
            proof = _subproof(old, 0, size, 1) if old else []
        return {"old": old, "old_root": _root(0, old), "size": size, "root": _root(0, size), "proof": list(proof)}

    for old, size in ((0, 0), (0, 70), (1, 2), (1, 70), (3, 7), (4, 7), (6, 7), (7, 8), (13, 70), (64, 70), (70, 70)):
        yield accepted(
            f"{HERE}consistency-{old}-to-{size}", f"{old} leaves, then {size}", "consistency", given(old, size)
        )
    right = given(13, 70)["proof"]
    assert isinstance(right, list)
    for name, what, inputs in (
        ("another-history", "the older tree has another root", given(13, 70) | {"old_root": _root(1, 14)}),
        ("another-root", "the newer tree has another root", given(13, 70) | {"root": _root(0, 69)}),
        ("another-old", "another older size", given(13, 70) | {"old": 14}),
        ("another-size", "another newer size", given(13, 70) | {"size": 64}),
        ("backwards", "the older is the larger", given(13, 70) | {"old": 70, "size": 13}),
        ("cut-short", "without the last hash", given(13, 70, right[:-1])),
        ("reversed", "in the other order", given(13, 70, right[::-1])),
        ("longer", "with a hash more", given(13, 70, [*right, right[-1]])),
        ("empty", "no hash", given(13, 70, [])),
        ("empty-from-a-power", "no hash, from a complete tree", given(64, 70, [])),
        ("from-nothing-with-a-hash", "a hash where nothing is to be proven", given(0, 70, [right[0]])),
        ("to-itself-with-a-hash", "a hash between equal sizes", given(70, 70, [right[0]])),
        ("fork", "two roots of one size", given(70, 70) | {"old_root": _root(0, 69)}),
        ("from-another-nothing", "an empty tree with a root", given(0, 70) | {"old_root": _root(0, 1)}),
    ):
        yield refused(f"{HERE}consistency-{name}", what, "consistency", inputs, Number.INTEGRITY, "proof")
