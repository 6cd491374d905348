"""A custodian's page and file: read exactly as an enclave writes them, or not at all."""

import os
from dataclasses import replace

import pyrage
import pytest

from strongroom.client.custodians import (
    open_share,
    parse_identities,
    parse_sheet,
    typed_share,
    verify_cluster,
    verify_seat,
)
from strongroom.client.errors import BadInput
from strongroom.client.share.age import generate_identity, parse_identity
from strongroom.protocol.age import parse_recipient, seal_age
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.evidence import Custodian
from strongroom.protocol.share_sheet import HEAD, Sheet, write_sheet
from strongroom.protocol.shares import split
from tests.support.councils import council


@pytest.fixture(scope="module")
def shares():
    return split(os.urandom(32), 5, 3)


@pytest.fixture
def sheet(shares):
    return Sheet(bytes(range(32)), "vault", 0, "Zoë of accounts", 1, 5, 3, shares[1].words)


def sealed(text, identity, **fresh):
    fresh = {"file_key": os.urandom(16), "nonce": os.urandom(16)} | fresh
    return seal_age(parse_identity(identity).recipient, text.encode(), **fresh)


def number_of(call):
    with pytest.raises(Misuse) as caught:
        call()
    return caught.value.number


def test_a_page_is_read_as_it_was_written(sheet):
    assert parse_sheet(write_sheet(sheet)) == sheet
    assert parse_sheet(write_sheet(replace(sheet, council=64, role="authenticator", index=15, count=16))).index == 15


def test_a_page_fits_on_paper_and_into_a_terminal(sheet):
    lines = write_sheet(sheet).splitlines()
    assert max(map(len, lines)) <= 90
    assert len(lines) < 40
    assert HEAD in lines[0]


def test_version_1_is_written_so_for_ever():
    """Pages lie in safes for years: what writes another one gives it another version."""
    words = " ".join(f"word{chr(97 + at % 26)}" for at in range(33))
    assert write_sheet(Sheet(bytes(32), "authenticator", 12, "Zoë of accounts", 1, 5, 3, words)) == GOLDEN


GOLDEN = f"""STRONGROOM SHARE, VERSION 1

Cluster    {"00" * 32}
Role       authenticator
Council    12
Custodian  Zoë of accounts
Share      2 of 5, any 3

Words
   1 worda       2 wordb       3 wordc       4 wordd
   5 worde       6 wordf       7 wordg       8 wordh
   9 wordi      10 wordj      11 wordk      12 wordl
  13 wordm      14 wordn      15 wordo      16 wordp
  17 wordq      18 wordr      19 words      20 wordt
  21 wordu      22 wordv      23 wordw      24 wordx
  25 wordy      26 wordz      27 worda      28 wordb
  29 wordc      30 wordd      31 worde      32 wordf
  33 wordg

These words are secret: 3 of the 5 shares open all keys of this cluster.
Keep them where you find them in years, and nobody else does. They are needed when
all machines of the cluster are lost, and to agree to another council.
Never tell them to anybody. You give them to an enclave that you have appraised, and
only sealed to it: strongroom recover seal
When another council has taken office, and a backup was made since: destroy them.
"""


BENT = {
    "another version": lambda text: text.replace("VERSION 1", "VERSION 2"),
    "lower threshold": lambda text: text.replace("any 3", "any 2", 1),
    "a line more": lambda text: text + "Share      2 of 2, any 1\n",
    "another advice": lambda text: text.replace("Never tell them to anybody.", "Tell them to support."),
    "word moved": lambda text: text.replace("   1 ", "   2 ", 1),
    "other line ends": lambda text: text.replace("\n", "\r\n"),
    "a blank": lambda text: text.replace("Role       vault", "Role        vault"),
    "upper case": lambda text: text.replace("Cluster    00", "Cluster    0A"),
    "no share 0": lambda text: text.replace("Share      2 of", "Share      02 of"),
    "nothing": lambda text: "",
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT.keys())
def test_a_page_that_somebody_edited_is_none(sheet, bend):
    assert number_of(lambda: parse_sheet(bend(write_sheet(sheet)))) is Number.SHARE_WRONG


@pytest.mark.parametrize("hidden", ["\x1b]0;x\x07", "\x1b[2J", "\x1b[8m", "\r", "\x9b8m", "\u202e", "\u2028", "\x00"])
def test_a_name_on_a_page_that_steers_the_terminal_is_refused_before_it_is_shown(sheet, hidden):
    page = write_sheet(replace(sheet, custodian=f"Ann{hidden}"))
    identity = generate_identity()
    for data in (page.encode(), sealed(page, identity)):
        assert number_of(lambda data=data: open_share(data, parse_identities(identity))) is Number.SHARE_WRONG


def test_an_age_file_is_opened_by_the_identity_that_it_is_for(sheet):
    mine, other = generate_identity(), str(pyrage.x25519.Identity.generate())
    for identity in (mine, other):
        identities = parse_identities(f"# created: today\n# public key: …\n{mine}\n\n{other}\n")
        opened = open_share(sealed(write_sheet(sheet), identity), identities)
        assert (opened.sheet, opened.recipient) == (sheet, parse_identity(identity).recipient.text)
    with pytest.raises(BadInput, match="another key"):
        open_share(sealed(write_sheet(sheet), mine), [parse_identity(other)])
    with pytest.raises(BadInput, match="encrypted"):
        open_share(sealed(write_sheet(sheet), mine), [])


def test_a_page_that_was_decrypted_before_is_read_and_names_no_recipient(sheet):
    opened = open_share(write_sheet(sheet).encode(), [])
    assert (opened.sheet, opened.recipient) == (sheet, None)


@pytest.mark.parametrize("content", ["", "hello", f"{HEAD}\n", f"{HEAD}\n\nCluster    {'00' * 32}\n"])
def test_a_file_with_something_else_is_no_share(content):
    identity = generate_identity()
    assert number_of(lambda: open_share(sealed(content, identity), [parse_identity(identity)])) is Number.SHARE_WRONG


def test_bytes_that_are_no_text_are_no_share():
    identity = generate_identity()
    fresh = {"file_key": os.urandom(16), "nonce": os.urandom(16)}
    file = seal_age(parse_identity(identity).recipient, b"\xff\xfe", **fresh)
    assert number_of(lambda: open_share(file, [parse_identity(identity)])) is Number.SHARE_WRONG


def test_words_are_typed_with_or_without_their_numbers(shares):
    words = shares[0].words.split()
    numbered = " ".join(f"{at}. {word}" for at, word in enumerate(words, 1))
    for typed in (shares[0].words, numbered, numbered.replace(".", ""), shares[0].words.upper()):
        assert typed_share(typed).share.key.public == shares[0].key.public
    assert number_of(lambda: typed_share(" ".join(words[:-1]))) is Number.SHARE_WRONG


@pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1XYZ\n", "age1abc\n"])
def test_what_is_no_identity_file_is_refused_and_not_repeated(text):
    with pytest.raises(BadInput) as caught:
        parse_identities(text)
    assert "XYZ" not in caught.value.error + caught.value.hint


def test_shares_of_other_clusters_and_councils_are_told_apart(sheet, shares):
    people = [Custodian(f"custodian {at}", "", share.key.public) for at, share in enumerate(shares)]
    people[1] = Custodian(sheet.custodian, "", shares[1].key.public)
    seats = council(custodians=people, threshold=3)
    opened = open_share(write_sheet(sheet).encode(), [])
    assert verify_seat(opened, seats, sheet.cluster, 0, in_office=0) == 1
    assert verify_seat(typed_share(sheet.words), seats, sheet.cluster, 0, in_office=0) == 1
    assert number_of(lambda: verify_seat(opened, seats, bytes(32), 0, in_office=0)) is Number.SHARE_FOREIGN
    assert number_of(lambda: verify_seat(opened, seats, sheet.cluster, 1, in_office=1)) is Number.SHARE_STALE
    others = council(custodians=people[:1], threshold=3)
    assert number_of(lambda: verify_seat(opened, others, sheet.cluster, 0, in_office=0)) is Number.SHARE_STALE
    for change in ({"custodian": "Bob"}, {"index": 0}, {"count": 4}, {"threshold": 2}):
        bent = open_share(write_sheet(replace(sheet, **change)).encode(), [])
        wrong = number_of(lambda bent=bent: verify_seat(bent, seats, sheet.cluster, 0, in_office=0))
        assert wrong is Number.SHARE_WRONG


def test_a_share_of_another_cluster_is_said_to_be_that_and_of_which(sheet):
    opened = open_share(write_sheet(sheet).encode(), [])
    with pytest.raises(Misuse) as caught:
        verify_cluster(opened, bytes(32))
    assert f"it is of {sheet.cluster.hex()}, and the enclave of {bytes(32).hex()}" in caught.value.error
    assert "recovered" not in caught.value.hint
    verify_cluster(opened, sheet.cluster)
    verify_cluster(typed_share(sheet.words), bytes(32))  # words alone name none


def stale(sheet, council_of_share, seats, *, wanted, in_office):
    opened = open_share(write_sheet(replace(sheet, council=council_of_share)).encode(), [])
    with pytest.raises(Misuse) as caught:
        verify_seat(opened, seats, sheet.cluster, wanted, in_office=in_office)
    assert caught.value.number is Number.SHARE_STALE
    assert "nothing any more" not in caught.value.hint
    return caught.value.reason


def test_nobody_is_told_that_a_share_is_old_which_is_needed(sheet):
    """Else somebody destroys it: shares of a council in office, of a newer one and of one that was given up."""
    nobody = council(threshold=3)
    newer = stale(sheet, 2, nobody, wanted=1, in_office=1)
    assert "council 2, newer and not in office" in newer
    assert "use your share of council 1, and keep both" in newer
    present = stale(sheet, 1, nobody, wanted=2, in_office=1)
    assert "council 1, which is in office: keep it" in present
    assert "council 0, which was replaced: use your share of council 2" in stale(
        sheet, 0, nobody, wanted=2, in_office=1
    )
    assert "given up before it took office" in stale(sheet, 2, nobody, wanted=2, in_office=1)
    assert "never took office" in stale(sheet, 1, nobody, wanted=1, in_office=1)


def test_an_enclave_writes_to_recipients_as_age_does(sheet):
    identity = pyrage.x25519.Identity.generate()
    fresh = {"file_key": os.urandom(16), "nonce": os.urandom(16)}
    file = seal_age(parse_recipient(str(identity.to_public())), write_sheet(sheet).encode(), **fresh)
    assert pyrage.decrypt(file, [identity]).decode() == write_sheet(sheet)
