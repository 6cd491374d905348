"""age in Python against the format's other implementations: typage, rage, and the vectors of C2SP."""

import hashlib
import json
import subprocess
import zlib
from base64 import b64decode, b64encode
from pathlib import Path

import pyrage
import pytest

from strongroom.client.errors import BadInput
from strongroom.client.share.age import (
    CHUNK,
    MAX_HEADER,
    Opener,
    Sealer,
    age_length,
    generate_identity,
    parse_identity,
    parse_recipient,
)
from strongroom.client.share.errors import Damaged
from tools.node import commands

WEB = Path(__file__).resolve().parents[4] / "web"
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 200_000]
EXAMPLE = (
    "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR",
    "age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzdxz95paef6caq5",
)
"""Identity, and the beginning of its recipient, in C2SP's age.md."""


@pytest.fixture(scope="module")
def identity():
    return parse_identity(generate_identity())


def content(size):
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def seal(recipient, data, step=CHUNK):
    sealer = Sealer(recipient)
    return b"".join([*(sealer.seal(data[at : at + step]) for at in range(0, len(data), step)), sealer.finish()])


def unseal(identity, data, step=CHUNK):
    opener = Opener(identity)
    return b"".join([*(opener.open(data[at : at + step]) for at in range(0, len(data), step)), opener.finish()])


def node(script, *arguments):
    found = commands()
    assert found is not None
    command = [*found[0], "--input-type=module", "-e", script, *arguments]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [13 * 1024 + 1, CHUNK, 1 << 20])
def test_what_was_sealed_is_opened_whatever_the_pieces(identity, size, step):
    sealed = seal(identity.recipient, content(size), step)
    assert len(sealed) == age_length(size)
    assert unseal(identity, sealed, step) == content(size)


def test_the_examples_of_the_specification_hold():
    identity, recipient = EXAMPLE
    assert parse_identity(identity).recipient.text.startswith(recipient)
    text = parse_identity(identity).recipient.text
    assert unseal(parse_identity(identity), seal(parse_recipient(text), b"hi")) == b"hi"


def test_x25519_goes_both_ways_with_rage():
    theirs = pyrage.x25519.Identity.generate()
    sealed = seal(parse_recipient(str(theirs.to_public())), content(70_000))
    assert pyrage.decrypt(sealed, [theirs]) == content(70_000)
    assert unseal(parse_identity(str(theirs)), pyrage.encrypt(content(70_000), [theirs.to_public()])) == content(70_000)


@pytest.mark.needs("web")
def test_hybrid_goes_both_ways_with_typage():
    text = generate_identity()
    identity = parse_identity(text)
    sealed = {str(size): b64encode(seal(identity.recipient, content(size))).decode() for size in SIZES}
    script = """
        import * as age from "age-encryption";
        import { readFileSync } from "node:fs";
        const { identity, recipient, sealed } = JSON.parse(readFileSync(0));
        const bytes = (size) => new TextEncoder().encode("0123456789abcdef".repeat(size / 16 + 1)).slice(0, size);
        const opener = new age.Decrypter(); opener.addIdentity(identity);
        const sealer = new age.Encrypter(); sealer.addRecipient(recipient);
        const answer = { recipient: await age.identityToRecipient(identity), opened: {}, sealed: {} };
        for (const [size, data] of Object.entries(sealed)) {
            answer.opened[size] = Buffer.compare(await opener.decrypt(Buffer.from(data, "base64")), bytes(+size)) === 0;
            answer.sealed[size] = Buffer.from(await sealer.encrypt(bytes(+size))).toString("base64");
        }
        console.log(JSON.stringify(answer));
    """
    found = commands()
    assert found is not None
    run = subprocess.run(
        [*found[0], "--input-type=module", "-e", script],
        cwd=WEB,
        input=json.dumps({"identity": text, "recipient": identity.recipient.text, "sealed": sealed}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["recipient"] == identity.recipient.text
    assert answer["opened"] == {str(size): True for size in SIZES}
    for size in SIZES:
        theirs = b64decode(answer["sealed"][str(size)])
        assert len(theirs) == age_length(size)
        assert unseal(identity, theirs) == content(size)


def is_damaged(identity, file):
    try:
        unseal(identity, file)
    except Damaged:
        return True
    return False


def cctv(vector):
    """One vector of C2SP's CCTV: its fields, and the file itself."""
    head, _, file = vector.partition(b"\n\n")
    fields = [line.partition(": ") for line in head.decode().split("\n")]
    if ("compressed", ": ", "zlib") in fields:
        file = zlib.decompress(file)
    return {name: value for name, _, value in fields}, [value for name, _, value in fields if name == "identity"], file


@pytest.mark.needs("cctv")
def test_the_vectors_of_c2sp_are_read_as_they_say():
    script = """
        import { createRequire } from "node:module";
        const vectors = createRequire(process.cwd() + "/")("cctv-age");
        console.log(JSON.stringify(
            Object.fromEntries(Object.entries(vectors).map(([k, v]) => [k, Buffer.from(v).toString("base64")]))));
    """
    read = 0
    for name, encoded in node(script).items():
        fields, identities, file = cctv(b64decode(encoded))
        # Armour, passphrases and tagged keys are other parts of age, which shares have no use for.
        if "armored" in fields or "passphrase" in fields or not identities or "-TAG" in identities[0]:
            continue
        read += 1
        keys = [parse_identity(text) for text in identities]
        if fields["expect"] == "success":
            opened = unseal(keys[0], file)
            assert hashlib.sha256(opened).hexdigest() == fields["payload"], name
            continue
        for key in keys:
            assert is_damaged(key, file), f"{name} was opened; {fields['expect']} was expected"
    assert read > 60


@pytest.mark.parametrize("cut", [0, 1, 100, 1626, 1627, 1643, 1650, 1643 + CHUNK, 1643 + CHUNK + 16, -1])
def test_a_file_that_was_cut_off_does_not_open(identity, cut):
    sealed = seal(identity.recipient, content(CHUNK + 5))
    with pytest.raises(Damaged):
        unseal(identity, sealed[:cut])


@pytest.mark.parametrize("at", [3, 22, 40, 800, 1560, 1600, 1630, 1650, 1643 + CHUNK + 20, -1])
def test_a_bit_that_was_flipped_does_not_open(identity, at):
    sealed = bytearray(seal(identity.recipient, content(CHUNK + 5)))
    sealed[at] ^= 1
    with pytest.raises(Damaged):
        unseal(identity, bytes(sealed))


def test_chunks_that_changed_places_do_not_open(identity):
    sealed = seal(identity.recipient, content(3 * CHUNK))
    first, second = 1643, 1643 + CHUNK + 16
    swapped = (
        sealed[:first] + sealed[second : second + CHUNK + 16] + sealed[first:second] + sealed[second + CHUNK + 16 :]
    )
    assert len(swapped) == len(sealed)
    with pytest.raises(Damaged):
        unseal(identity, swapped)


def test_an_empty_last_chunk_after_others_does_not_open(identity):
    sealer = Sealer(identity.recipient)
    body = sealer.seal(content(CHUNK))
    body += sealer._ready + sealer._payload.seal(bytes(sealer._held), last=False) + sealer._payload.seal(b"", last=True)
    with pytest.raises(Damaged, match="empty"):
        unseal(identity, body)


def test_a_file_for_somebody_else_does_not_open(identity):
    with pytest.raises(Damaged, match="another key"):
        unseal(parse_identity(generate_identity()), seal(identity.recipient, b"secret"))


def test_a_header_without_an_end_is_not_gathered_for_ever(identity):
    opener = Opener(identity)
    opener.open(b"age-encryption.org/v1\n")
    opener.open(b"-> x\n\n" * (MAX_HEADER // 6 - 50))
    with pytest.raises(Damaged, match="no end"):
        opener.open(b"-> x\n\n" * 100)


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE[0].lower(),
        EXAMPLE[0][:-1],
        EXAMPLE[0][:-1] + "Q",
        EXAMPLE[0][:30] + EXAMPLE[0][30:].lower(),
        EXAMPLE[1],
        "AGE-SECRET-KEY-1",
        "1" * 100,
        "ſ" * 80,
    ],
)
def test_what_is_no_identity_is_refused_and_not_repeated(text):
    with pytest.raises(BadInput) as caught:
        parse_identity(text)
    assert "AGE-SECRET-KEY-PQ-1X" not in str(caught.value)
    with pytest.raises(BadInput):
        parse_recipient(text)


def test_keys_do_not_show_in_logs(identity):
    assert repr(identity) == "HybridIdentity(redacted)"
