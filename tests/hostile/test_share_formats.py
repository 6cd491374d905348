"""Senders and hosts that lie about a share. What they say is refused before anything of it is used."""

import os
import unicodedata
from typing import Any

import msgspec
import pytest

from strongroom.client.errors import BadInput, Untrusted
from strongroom.client.results import Released
from strongroom.client.share.age import Sealer, age_length, generate_identity, parse_identity
from strongroom.client.share.errors import Damaged, Unreadable
from strongroom.client.share.folders import Destination
from strongroom.client.share.format import (
    MAX_FILES,
    MAX_MANIFEST,
    SEGMENT,
    FileEntry,
    encode_json,
    parse_card,
    parse_desk,
    parse_request,
    parse_share,
    verify_distinct,
    verify_path,
)
from strongroom.client.share.pack import open_file, open_manifest
from strongroom.client.share.shares import Receiver
from strongroom.client.share.site import parse_link
from strongroom.protocol.messages import Person, Terms
from tests.support.packs import Packed, opened


@pytest.fixture(scope="module")
def packed():
    return Packed({"a/report.pdf": os.urandom(3 * SEGMENT + 5), "b.txt": b"short", "empty": b""})


# --- the host lies --------------------------------------------------------------------------------------------


async def test_an_honest_pack_opens(packed):
    assert [entry.path for entry in packed.manifest.files] == ["a/report.pdf", "b.txt", "empty"]
    assert await opened(packed, "b.txt") == b"short"
    assert await opened(packed, "empty") == b""
    assert len(await opened(packed, "a/report.pdf")) == 3 * SEGMENT + 5


@pytest.mark.parametrize("at", [0, 1700, SEGMENT + 1, 2 * SEGMENT, -1])
async def test_a_byte_that_was_changed_hands_nothing_of_its_segment_on(packed, at):
    data = bytearray(packed.bytes_of("a/report.pdf"))
    data[at] ^= 1
    got = bytearray()
    with pytest.raises(Damaged, match="segment"):
        await gather(packed, bytes(data), got)
    honest = await opened(packed, "a/report.pdf")
    assert honest.startswith(bytes(got))
    assert len(got) <= max(0, (at if at >= 0 else len(data) + at) // SEGMENT * SEGMENT)


async def gather(packed, data, got):
    """As a receiver does: what was handed on stays."""

    async def pieces():
        for at in range(0, len(data), 70_000):
            yield data[at : at + 70_000]

    async for piece in open_file(packed.entry("a/report.pdf"), packed.identity, pieces()):
        got += piece


async def test_segments_that_changed_places_are_refused(packed):
    data = packed.bytes_of("a/report.pdf")
    swapped = data[:SEGMENT] + data[2 * SEGMENT : 3 * SEGMENT] + data[SEGMENT : 2 * SEGMENT] + data[3 * SEGMENT :]
    with pytest.raises(Damaged, match="segment 2 of 4"):
        await opened(packed, "a/report.pdf", swapped)


@pytest.mark.parametrize("left", [0, 100, SEGMENT, 3 * SEGMENT, -1])
async def test_a_file_that_was_cut_off_is_refused(packed, left):
    with pytest.raises(Damaged):
        await opened(packed, "a/report.pdf", packed.bytes_of("a/report.pdf")[:left])


async def test_bytes_behind_the_end_are_refused(packed):
    with pytest.raises(Damaged):
        await opened(packed, "b.txt", packed.bytes_of("b.txt") + b"x")
    whole = Packed({"x": bytes(SEGMENT - age_length(0) - 16 * 15)})
    assert len(whole.bytes_of("x")) % SEGMENT == 0
    with pytest.raises(Damaged):
        await opened(whole, "x", whole.bytes_of("x") + b"x")


async def test_another_file_encrypted_to_the_same_key_is_refused(packed):
    """age does not say who encrypted: whoever learns the recipient can make a valid file for it."""
    sealer = Sealer(packed.identity.recipient)
    forged = sealer.seal(b"ghost") + sealer.finish()
    assert len(forged) == len(packed.bytes_of("b.txt"))
    with pytest.raises(Damaged):
        await opened(packed, "b.txt", forged)


def test_the_manifest_of_another_share_is_refused(packed):
    other = Packed({"a/report.pdf": bytes(3 * SEGMENT + 5), "b.txt": b"short", "empty": b""})
    assert len(other.listed) == len(packed.listed)
    for untrusted in (other.listed, packed.listed[:-1], packed.listed + b"x", b""):
        with pytest.raises(Damaged, match="list of files"):
            open_manifest(packed.share, packed.identity, untrusted)


# --- the sender lies ------------------------------------------------------------------------------------------


def entry(path):
    return FileEntry(path=path, size=0, type="", modified=0, offset=0, length=age_length(0), segments="A" * 43 + "=")


CLIMBING = [
    "../x", "a/../x", "..", ".", "/etc/passwd", "a//b", "a/", "", "a/./b", "C:x", "c:\\x", "a\\..\\x", "a/...", "x.",
    "x ", "a /b", "nul\x00", "a\nb", "a\x7f", "a\x85b", "a\u2028b", "report\u202efdp.exe", "a\u2066b", "a\u200fb",
    "\u061c", "x" * 256, "é" * 128, "/".join(["x" * 200] * 6),
]  # fmt: skip


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_that_climbs_or_misleads_is_refused(packed, path, tmp_path):
    with pytest.raises(Unreadable):
        verify_path(path)
    with pytest.raises(Unreadable):
        _ = packed.lying("b.txt", path=path).manifest


@pytest.mark.parametrize("path", ["a", "a.b", ".hidden", "a b", "ä/ö.txt", "x" * 255, "👩‍👩‍👧/…", "a~1", "-rf", "CON"])
def test_an_ordinary_path_is_taken(path):
    verify_path(path)


async def test_a_climbing_path_is_refused_even_where_it_is_written(tmp_path):
    async def nothing():
        yield b""

    (tmp_path / "in").mkdir()
    for path in ("../out", "/out", "a/../../out"):
        with pytest.raises(Unreadable):
            await Destination(tmp_path / "in").write(entry(path), nothing())
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["Report.pdf", "report.PDF"],
        ["é", unicodedata.normalize("NFD", "É")],
        ["STRAẞE", "straße"],
        ["ΣΑΣ", "σας"],
        ["a", "a/b"],
        ["A/B/c", "a/b"],
        ["x/y", "X/Y/Z/ä"],
    ],
)
def test_two_paths_that_are_one_on_some_disk_are_refused(paths):
    with pytest.raises(Unreadable):
        verify_distinct(paths)
    with pytest.raises(Unreadable):
        verify_distinct(paths[::-1])


def test_a_list_with_two_such_paths_is_refused(packed):
    for path in ("A/REPORT.pdf", "a", "EMPTY"):
        with pytest.raises(Unreadable, match=r"the same name|the name of a folder"):
            _ = packed.lying("b.txt", path=path).manifest


def test_paths_that_differ_are_taken():
    verify_distinct(["a", "b", "a.txt", "ab/c", "a-/c", "ä"])


LIES: list[dict[str, Any]] = [
    {"size": 6}, {"size": 4}, {"size": 2**53 - 1}, {"offset": 0}, {"offset": 2**53 - 1}, {"length": 0},
    {"length": 10**15}, {"segments": ""}, {"segments": "A" * 43}, {"segments": "A" * 44},
    {"segments": "A" * 43 + "=" + "A" * 44}, {"segments": "A" * 42 + "B="}, {"segments": "!" * 43 + "="},
    {"size": 10**15, "length": age_length(10**15)},
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=[str(sorted(lie)) for lie in LIES])
def test_sizes_and_places_that_do_not_fill_the_pack_are_refused(packed, lie):
    """A file that promises five bytes and unpacks to a petabyte; files that overlap; bytes that nobody checks."""
    with pytest.raises(Unreadable):
        _ = packed.lying("b.txt", **lie).manifest


def test_a_file_left_out_of_the_list_is_refused(packed):
    files = packed.manifest.files
    for kept in (files[1:], files[:-1], files[:1] + files[2:], [], files[::-1], [*files, files[-1]]):
        with pytest.raises(Unreadable):
            _ = packed.relisted(msgspec.structs.replace(packed.manifest, files=kept)).manifest


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"{}", b"[" * 100_000, b'{"format":"strongroom manifest 1","files":[', b"\xff\xfe",
        b'{"format":"strongroom manifest 2","files":[{}]}',
        b'\xef\xbb\xbf{"format":"strongroom manifest 1","files":[]}',
    ],
    ids=range(9),
)  # fmt: skip
def test_a_list_that_is_none_is_refused(packed, text):
    with pytest.raises(Unreadable):
        _ = packed.relisted(text).manifest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size":5,', b'"size":5,"more":1,'),
        (b'"size":5,', b'"size":5.5,'),
        (b'"size":5,', b'"size":-5,'),
        (b'"size":5,', b'"size":"5",'),
        (b'"size":5,', b'"size":null,'),
        (b'"size":5,', b'"size":9007199254740992,'),
        (b'"size":5,', b'"size":1' + b"0" * 400 + b","),
        (b'"size":5,', b""),
        (b'"b.txt"', b'"\\ud800"'),
        (b'"text/plain"', b'"text/\\u00e9"'),
    ],
    ids=range(10),
)
def test_a_list_with_a_wrong_field_is_refused(packed, old, new):
    text = encode_json(packed.manifest)
    assert old in text
    with pytest.raises(Unreadable) as caught:
        _ = packed.relisted(text.replace(old, new)).manifest
    assert "AGE-SECRET" not in str(caught.value)


def test_more_files_than_a_share_may_hold_are_refused(packed):
    many = [entry(f"f{number}") for number in range(MAX_FILES + 1)]
    with pytest.raises(Unreadable):
        _ = packed.relisted(msgspec.structs.replace(packed.manifest, files=many)).manifest


# --- descriptions ---------------------------------------------------------------------------------------------


def described(packed, **changes):
    return encode_json(msgspec.structs.replace(packed.share, **changes))


def place(packed, **changes):
    return msgspec.structs.replace(packed.share.manifest, **changes)


def test_an_honest_description_is_read_as_it_was_written(packed):
    assert parse_share(encode_json(packed.share)) == packed.share
    assert "AGE-SECRET" not in repr(packed.share)


def test_descriptions_that_break_a_rule_are_refused(packed):
    x25519 = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
    wrong: list[dict[str, Any]] = [
        {"title": ""}, {"title": "x" * 201}, {"title": "a\x1b[2J"}, {"message": "x" * 8001}, {"identity": ""},
        {"identity": x25519}, {"blob": "AB" * 16}, {"blob": "ab" * 15}, {"size": 0}, {"size": packed.share.size + 1},
        {"manifest": place(packed, offset=0)}, {"manifest": place(packed, sha256="0" * 63)},
        {"manifest": place(packed, offset=packed.share.size, length=0)},
        {"manifest": place(packed, offset=0, length=2 * MAX_MANIFEST), "size": 2 * MAX_MANIFEST},
        {"format": "strongroom share 2"}, {"sent_at": 2**53},
    ]  # fmt: skip
    for changes in wrong:
        with pytest.raises(Unreadable):
            parse_share(described(packed, **changes))


def test_words_about_a_description_never_repeat_it(packed):
    text = described(packed).replace(b'"strongroom share 1"', f'"{packed.share.identity}"'.encode())
    with pytest.raises(Unreadable) as caught:
        parse_share(text)
    assert packed.share.identity not in f"{caught.value} {caught.value.hint}"
    text = described(packed).replace(b'"title"', f'"{packed.share.identity}"'.encode())
    with pytest.raises(Unreadable) as caught:
        parse_share(text)
    assert packed.share.identity not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"x" * 70_000, b'{"format":"strongroom share 1"}'])
def test_any_bytes_are_a_declared_error(data):
    for parse in (parse_share, parse_request, parse_desk):
        with pytest.raises(Untrusted):
            parse(data)
    with pytest.raises(BadInput):
        parse_card(data)


class StrangersVault:
    """Releases a secret whose author the namespace does not know."""

    def __init__(self, released):
        self.released = released

    async def collect(self, address):
        return self.released


async def test_a_secret_from_nobody_whom_the_vault_knows_is_refused(packed):
    """Its sender chose who recognises people for it: what they are called there is the sender's own invention."""
    terms = Terms(expires_at=0, max_opens=0, closed=False, fillable=False, blob=bytes(16), blob_bytes=1)
    for secret in (b"", encode_json(packed.share)):
        nobody = Person(principal="", email="")
        released = Released(secret=secret, metadata=b"", version=1, author=nobody, terms=terms, opens=1)
        receiver = Receiver(StrangersVault(released))  # type: ignore[arg-type]
        link = parse_link(f"https://share.example.com/#/s/{'0' * 32}")
        with pytest.raises(Unreadable, match="who it is from"):
            await receiver.open(link, None)  # type: ignore[arg-type]
        with pytest.raises(Unreadable, match="who it is from"):
            await receiver.invitation(link)


def test_a_share_sealed_to_another_key_is_refused(packed):
    stranger = parse_identity(generate_identity())
    with pytest.raises(Damaged, match="another key"):
        open_manifest(packed.share, stranger, packed.listed)


# --- disks ----------------------------------------------------------------------------------------------------


async def test_a_link_in_the_folder_leads_nowhere(tmp_path, packed):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "a").symlink_to(outside)
    (inside / "b.txt").symlink_to(outside / "b.txt")
    destination = Destination(inside)
    with pytest.raises(BadInput, match="in the way"):
        destination.verify_free(packed.manifest)

    async def pieces():
        yield b"short"

    for name in ("a/report.pdf", "b.txt"):
        with pytest.raises(BadInput):
            await destination.write(packed.entry(name), pieces())
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "path", [".bash_profile", ".ssh/authorized_keys", ".config/autostart/x.desktop", "Library/LaunchAgents/x.plist"]
)
def test_nothing_lands_where_programs_look_for_it_unless_its_receiver_chose_the_folder(tmp_path, path):
    """Who receives into their home would run it at their next sign-in."""
    (tmp_path / "Library").mkdir()
    with pytest.raises(BadInput, match="where programs look"):
        Destination(tmp_path).verify_harmless(Packed({"report.pdf": b"", path: b"x"}).manifest)
    Destination(tmp_path).verify_harmless(Packed({"report.pdf": b"", "report/a/.b": b"x"}).manifest)


async def test_a_file_that_is_there_is_never_replaced(tmp_path, packed):
    (tmp_path / "b.txt").write_bytes(b"mine")

    async def pieces():
        yield b"short"

    with pytest.raises(BadInput, match="never replaces"):
        Destination(tmp_path).verify_free(packed.manifest)
    with pytest.raises(BadInput, match="never replaces"):
        await Destination(tmp_path).write(packed.entry("b.txt"), pieces())
    assert (tmp_path / "b.txt").read_bytes() == b"mine"
    assert [one.name for one in tmp_path.iterdir()] == ["b.txt"]


async def test_a_file_that_comes_while_ours_is_written_is_not_replaced(tmp_path, packed):
    async def pieces():
        (tmp_path / "b.txt").write_bytes(b"mine")
        yield b"short"

    with pytest.raises(BadInput, match="never replaces"):
        await Destination(tmp_path).write(packed.entry("b.txt"), pieces())
    assert (tmp_path / "b.txt").read_bytes() == b"mine"
    assert [one.name for one in tmp_path.iterdir()] == ["b.txt"]


async def test_half_a_file_never_has_its_name(tmp_path, packed):
    async def breaks():
        yield b"sh"
        assert not (tmp_path / "b.txt").exists()
        raise Damaged("test")

    with pytest.raises(Damaged):
        await Destination(tmp_path).write(packed.entry("b.txt"), breaks())

    async def too_short():
        yield b"sho"

    with pytest.raises(Damaged, match="another size"):
        await Destination(tmp_path).write(packed.entry("b.txt"), too_short())
    assert list(tmp_path.iterdir()) == []
