"""What an owner says of a council, and where the shares' files go."""

import os

import pytest

from strongroom.cli.convening import (
    fewer_than_custodians,
    lone_custodian,
    nominated,
    share_file,
    signatures_missing,
    verify_can_write,
    wanted_signatures,
    with_approvers_of,
    with_delay,
    write_files,
)
from strongroom.cli.terminal import Failure
from strongroom.client.custodians import PendingCouncil, verify_convened
from strongroom.client.share.age import generate_identity, parse_identity
from strongroom.enclave.runtime.genesis import draw_secrets, genesis_of
from strongroom.host.front.words import waited_for
from strongroom.protocol.cluster_messages import Convened
from strongroom.protocol.errors import Misuse, Untrusted
from strongroom.protocol.evidence import Council, Custodian
from strongroom.protocol.status import SeatStatus
from tests.support.councils import council
from tests.support.policies import witness_key
from tests.support.ssh_keys import SshKey
from tests.support.standing import changed
from tests.support.world import Platform


def recipient():
    return parse_identity(generate_identity()).recipient.text


@pytest.fixture(scope="module")
def three():
    return [f"{name}={recipient()}" for name in ("alice", "bob@example.com", "C.3")]


@pytest.fixture
def approvers(tmp_path):
    keys = [SshKey(person=f"approver-{at}") for at in range(3)]
    paths = [tmp_path / f"{at}.pub" for at in range(3)]
    for path, key in zip(paths, keys, strict=True):
        path.write_text(f"{key.line}\n")
    return paths


def test_names_recipients_and_numbers_are_as_they_were_said(three, tmp_path):
    file = tmp_path / "dora.pub"
    file.write_text(f"# public key\n\n{recipient()}\n")
    request = nominated([*three, f"dora={file}"], 3, [], None)
    assert [one.name for one in request.custodians] == ["alice", "bob@example.com", "C.3", "dora"]
    assert request.custodians[3].recipient in file.read_text()
    assert (request.threshold, request.approvals, request.release_delay, request.witnesses) == (3, 0, 0, [])


BAD = ["", "alice", "=age1x", "../etc=R", "a/b=R", ".hidden=R", "a b=R", "a\nb=R", "x" * 65 + "=R", "alice=age1pq1qq"]


@pytest.mark.parametrize("text", BAD)
def test_a_name_that_is_no_file_name_or_a_key_that_is_none_is_refused(three, text):
    with pytest.raises(Failure):
        nominated([text.replace("=R", f"={recipient()}"), *three[:2]], 2, [], None)


def test_people_who_are_one_are_noticed(three):
    for again in (f"ALICE={recipient()}", f"eve={three[0].partition('=')[2]}"):
        with pytest.raises(Failure, match="two custodians"):
            nominated([*three, again], 2, [], None)


@pytest.mark.parametrize("threshold", [1, 4])
def test_numbers_that_could_never_agree_are_refused_before_anything_is_sent(three, threshold):
    with pytest.raises(Misuse):
        nominated(three, threshold, [], None)


def test_a_file_with_two_recipients_or_none_names_nobody(three, tmp_path):
    file = tmp_path / "them.pub"
    for content in ("", f"{recipient()}\n{recipient()}\n", generate_identity()):
        file.write_text(content)
        with pytest.raises(Failure) as caught:
            nominated([f"eve={file}", *three], 2, [], None)
        assert "AGE-SECRET" not in caught.value.error + caught.value.hint


def test_more_than_half_of_the_approvers_approve_unless_they_say_otherwise(three, approvers):
    assert nominated(three, 2, approvers, None).approvals == 2
    assert nominated(three, 2, approvers, 3).approvals == 3
    with pytest.raises(Failure, match="never"):
        nominated(three, 2, approvers, 4)
    with pytest.raises(Failure, match="no approvers"):
        nominated(three, 2, [], 1)
    with pytest.raises(Failure, match="two approvers"):
        nominated(three, 2, [approvers[0], approvers[0]], None)
    approvers[0].write_text("ssh-rsa AAAA me\n")
    with pytest.raises(Failure, match="--approver"):
        nominated(three, 2, approvers, None)


def test_a_delay_that_nobody_could_tell_the_end_of_is_refused(three, approvers):
    request, watched = nominated(three, 2, approvers, None), [witness_key(0)]
    assert with_delay(request, None, []).release_delay == 0
    assert with_delay(request, None, watched).release_delay == 7 * 24 * 3600
    assert with_delay(request, "12h", watched).release_delay == 12 * 3600
    with pytest.raises(Failure, match="witnesses"):
        with_delay(request, "7d", [])
    with pytest.raises(Failure, match="no approvers"):
        with_delay(nominated(three, 2, [], None), "7d", watched)
    with pytest.raises(Failure, match="not a length of time"):
        with_delay(request, "soon", [])


def test_who_exchanges_a_custodian_keeps_approvers_their_number_and_the_delay(three):
    keys, watched = [b"one", b"two", b"three"], [witness_key(0)]
    before = council(approvers=keys, approvals=3, release_delay=30 * 24 * 3600)
    named = nominated(three, 2, [], None)
    kept = with_delay(with_approvers_of(named, before, None), None, watched, before)
    assert (kept.approvers, kept.approvals, kept.release_delay) == (keys, 3, before.release_delay)
    fewer = with_delay(with_approvers_of(named, before, 1), "12h", watched, before)
    assert (fewer.approvals, fewer.release_delay) == (1, 12 * 3600)
    with pytest.raises(Failure, match="never"):
        with_approvers_of(named, before, 4)
    none = with_delay(with_approvers_of(named, council(), None), None, watched, council())
    assert (none.approvers, none.approvals, none.release_delay) == ([], 0, 0)
    with pytest.raises(Failure, match="no approvers"):
        with_approvers_of(named, council(), 1)


def test_approvers_who_come_after_none_have_the_usual_delay(three, approvers):
    request = nominated(three, 2, approvers, None)
    assert with_delay(request, None, [witness_key(0)], council()).release_delay == 7 * 24 * 3600
    strict = council(approvers=[b"one"], approvals=1, release_delay=3600)
    assert with_delay(request, None, [witness_key(0)], strict).release_delay == 3600


def test_a_single_custodian_is_warned_of(three):
    assert lone_custodian(nominated(three, 2, [], None)) == ""
    said = lone_custodian(nominated(three[:1], 1, [], None))
    assert "alice alone" in said
    assert "brings all keys back" in said


@pytest.mark.parametrize(("approvals", "alone"), [(1, "1 approver"), (2, "2 approvers"), (3, "")])
def test_approvers_who_are_fewer_than_the_custodians_it_takes_are_warned_of(three, approvers, approvals, alone):
    said = fewer_than_custodians(nominated(three, 3, approvers, approvals))
    assert bool(said) == bool(alone)
    assert alone in said


def test_who_has_no_approvers_is_not_warned_of_them(three):
    assert fewer_than_custodians(nominated(three, 3, [], None)) == ""


def test_a_council_waits_for_those_in_office_too():
    """Whoever looks only at its own custodians waits for ever."""
    half = changed(pending=[SeatStatus("Ann", True), SeatStatus("Dora", False)], endorsements=1)
    assert signatures_missing(half) == 2
    assert waited_for(half.pending, half.endorsements) == ["Dora", "1 of those in office to endorse it"]
    assert waited_for([SeatStatus("Dora", True)], 0) == []


def test_one_signature_is_one():
    assert wanted_signatures(1) == "1 more signature is wanted"
    assert wanted_signatures(2) == "2 more signatures are wanted"


def test_shares_are_written_for_their_reader_alone_and_over_nothing(three, tmp_path):
    request = nominated(three, 2, [], None)
    out = tmp_path / "shares"
    verify_can_write(out, request, "genesis.statement")
    write_files(out, request, Convened(statement=b"s", shares=[b"1", b"2", b"3"]), "genesis.statement")
    assert share_file(out, "bob@example.com").read_bytes() == b"2"
    assert (out / "genesis.statement").read_bytes() == b"s"
    assert {oct(path.stat().st_mode & 0o777) for path in out.iterdir()} == {"0o600"}
    assert out.stat().st_mode & 0o077 == 0
    with pytest.raises(Failure, match="exists"):
        verify_can_write(out, request, "genesis.statement")
    for path in out.iterdir():
        path.unlink()
    os.symlink(tmp_path / "elsewhere", share_file(out, "alice"))
    with pytest.raises(Failure, match="exists"):
        verify_can_write(out, request, "genesis.statement")


def test_a_statement_that_says_something_else_than_was_asked_for_is_noticed(three, tmp_path):
    platform = Platform("vault", tmp_path)
    request = nominated(three, 2, [], None)

    def pending(*, threshold=2, names=("alice", "bob@example.com", "C.3"), delay=0, witnesses=()):
        people = [Custodian(name, one.recipient, b"") for name, one in zip(names, request.custodians, strict=True)]
        council = Council(bytes(1216), bytes(32), people, threshold, [], 0, delay)
        genesis = genesis_of(
            draw_secrets(platform, bytes(32)),
            role="vault",
            owner_key=bytes(65),
            council=council,
            witnesses=witnesses,
            cosignatures=len(witnesses),
            development=False,
        )
        return PendingCouncil(b"", council, 0, bytes(32), genesis, None)

    verify_convened(request, pending())
    bent = (
        {"threshold": 3},
        {"names": ("bob@example.com", "alice", "C.3")},
        {"delay": 1},
        {"witnesses": [witness_key(1)]},
    )
    for change in bent:
        with pytest.raises(Untrusted):
            verify_convened(request, pending(**change))
