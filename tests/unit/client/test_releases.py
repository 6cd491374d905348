"""Proposals of lists of releases: text in, text out, and nothing is signed that was not read."""

import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attestation.policy import ReleaseAuthority
from strongroom.client.errors import BadInput
from strongroom.client.explanation import fingerprint_of
from strongroom.client.release import REGISTERS, Release
from strongroom.client.releases import (
    MAX_PROPOSAL,
    Known,
    Proposal,
    approved_by,
    explain_proposal,
    is_in_office,
    joined,
    known_by_cluster,
    known_by_policy,
    listed_release,
    parse_program,
    parse_proposal,
    proposal_text,
    propose,
)
from strongroom.enclave.runtime.genesis import new_charter
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.governance import SignedGenesis
from strongroom.protocol.limits import MAX_LISTED_RELEASES, MAX_RELEASES
from strongroom.protocol.releases import NAMESPACE, SignedReleases
from tests.support.councils import council
from tests.support.evidence import MEASUREMENT, Cluster, changed
from tests.support.releases import NEW, listing, release, signed
from tests.support.ssh_keys import KEY_TYPES, SshKey

KEYS = [SshKey(person=f"approver-{at}") for at in range(3)]
COUNCIL = council(approvers=[one.public_key for one in KEYS], approvals=2)
GENESIS = Cluster("vault", council=COUNCIL).genesis
ID = cluster_id(GENESIS)
EMPTY = new_charter(SignedGenesis(GENESIS, []))
CHARTER = changed(
    EMPTY, releases=signed(listing(ID, 4, release("1.0", MEASUREMENT, svn=1), release("1.1", NEW, svn=2)), KEYS[:2])
)


def proposed(charter=CHARTER, **changes) -> Proposal:
    return propose(charter, COUNCIL, "vault", **changes)


def signature(key, proposal):
    return key.sign(proposal.statement, namespace=NAMESPACE)


def approved(proposal, *keys):
    for key in keys:
        proposal = approved_by(proposal, key.public_key, signature(key, proposal))
    return proposal


def words(proposal):
    """As the proposer sees them, who has asked the cluster."""
    return [(step.name, step.explanation) for step in explain_proposal(proposal, known_by_cluster(CHARTER, COUNCIL))]


def read(proposal, authority):
    """As an approver sees them, with a policy."""
    return [(step.name, step.explanation) for step in explain_proposal(proposal, known_by_policy(proposal, authority))]


def trusting(*keys, approvals=2, min_serial=0):
    """A policy by which these approve programs."""
    return ReleaseAuthority(
        approvers=[one.public_key for one in keys or KEYS], approvals=approvals, min_serial=min_serial
    )


# --- what is proposed -------------------------------------------------------------------------------------------------


def test_a_list_follows_the_one_that_is_in_force():
    proposal = proposed(add=[release("1.2", bytes(32), svn=3)], min_svn=2)
    releases = proposal.releases
    assert (releases.serial, releases.min_svn, releases.cluster) == (5, 2, ID)
    assert [one.version for one in releases.releases] == ["1.0", "1.1", "1.2"]
    assert proposed(EMPTY, add=[release("1.0", MEASUREMENT)]).releases.serial == 1


def test_what_changes_is_said_in_words():
    proposal = proposed(add=[release("1.2", bytes(32), svn=3)], retire=["1.0"])
    said = dict(words(proposal))
    assert said["+ 1.2"] == "NEW: this program will get the keys"
    assert said["= 1.1"] == "as before"
    assert said["- 1.0"] == "RETIRED: gets nothing any more, and a new epoch begins"
    assert said["list"] == "complete; follows list 4"
    floor = dict(words(proposed(min_svn=2)))
    assert floor["x 1.0"] == "BELOW THE FLOOR: gets nothing"
    assert "was 0" in floor["lowest version"]
    assert "- 1.0" in floor


def test_a_new_program_of_a_version_that_was_listed_is_new():
    more = proposed(add=[changed(release("1.1", bytes(32), svn=2))])
    assert dict(words(more))["+ 1.1"].startswith("NEW")
    assert len(more.releases.releases) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retire": ["2.0"]}, "no version 2.0"),
        ({"add": [release("1.1", bytes(32), svn=9)]}, "security version 2, not 9"),
        ({"add": [release("1.2", NEW, svn=9)]}, "twice"),
        ({"add": [release(str(at), bytes([at]) * 32) for at in range(MAX_LISTED_RELEASES)]}, "no cluster would take"),
    ],
)
def test_what_no_cluster_would_take_is_not_proposed(changes, said):
    with pytest.raises(BadInput, match=said):
        proposed(**changes)


def test_a_list_that_others_approved_than_are_in_office_is_told_from_one_that_counts():
    newcomer = SshKey().public_key
    assert is_in_office(CHARTER, COUNCIL)
    for others in (
        council(approvers=[newcomer], approvals=1),
        council(approvers=COUNCIL.approvers, approvals=3),
        council(approvers=[KEYS[0].public_key, newcomer], approvals=1),
        council(),
    ):
        assert not is_in_office(CHARTER, others)
    assert not is_in_office(EMPTY, COUNCIL)
    assert not is_in_office(EMPTY, council())


def test_a_floor_is_not_lowered():
    charter = changed(EMPTY, releases=signed(listing(ID, 4, release("1.0", MEASUREMENT, svn=3), min_svn=3), KEYS[:2]))
    with pytest.raises(BadInput, match="would fall from 3 to 2"):
        proposed(charter, min_svn=2)


def test_without_approvers_there_is_nothing_to_propose():
    with pytest.raises(BadInput, match="no approvers"):
        propose(EMPTY, council(), "vault", min_svn=1)


def test_a_release_file_is_listed_by_all_its_registers():
    registers = tuple((name, bytes([at]) * size) for at, (name, size) in enumerate(REGISTERS["tdx"].items()))
    file = Release(version="1.3", role="vault", kind="tdx", registers=registers, tcb=bytes(32), built="0" * 40)
    with pytest.raises(BadInput, match="says no security version"):
        listed_release(file, None)
    listed = listed_release(file, 7)
    assert (listed.svn, len(listed.programs[0].measurement)) == (7, 240)
    assert parse_program(f"tdx={listed.programs[0].measurement.hex()}") == listed.programs[0]


@pytest.mark.parametrize(
    "text", ["", "sgx", "sgx=", "sgx=00", f"tdx={'00' * 32}", f"sev={'00' * 48}", f"sgx={'zz' * 32}"]
)
def test_what_is_no_program_is_told_so(text):
    with pytest.raises(BadInput, match="is no program"):
        parse_program(text)


# --- approvals ------------------------------------------------------------------------------------------------------


def test_approvals_are_counted_until_there_are_enough():
    proposal = proposed(min_svn=1)
    for known in (known_by_cluster(CHARTER, COUNCIL), known_by_policy(proposal, None)):
        assert [known.missing(approved(proposal, *KEYS[:at])) for at in range(3)] == [2, 1, 0]


def test_approvals_that_would_not_count_are_refused():
    proposal, other = proposed(min_svn=1), proposed(min_svn=2)
    with pytest.raises(BadInput, match="no approver"):
        approved(proposal, SshKey())
    with pytest.raises(BadInput, match="has approved"):
        approved(proposal, KEYS[0], KEYS[0])
    with pytest.raises(BadInput, match="not one of this list"):
        approved_by(proposal, KEYS[0].public_key, signature(KEYS[0], other))
    with pytest.raises(BadInput, match="not one of this list"):
        approved_by(proposal, KEYS[0].public_key, KEYS[0].sign(proposal.statement))


@pytest.mark.parametrize("kind", KEY_TYPES[2:])
def test_a_security_key_that_nobody_touched_approves_nothing(kind):
    key = SshKey(kind=kind)
    proposal = propose(CHARTER, council(approvers=[key.public_key], approvals=1), "vault", min_svn=1)
    with pytest.raises(BadInput, match="nobody touched"):
        approved_by(proposal, key.public_key, key.sign(proposal.statement, namespace=NAMESPACE, flags=0))
    assert not known_by_policy(proposal, None).missing(approved(proposal, key))


def test_copies_are_joined_and_different_lists_are_not():
    proposal = proposed(min_svn=1)
    copies = [approved(proposal, KEYS[0]), approved(proposal, KEYS[0], KEYS[1]), approved(proposal, KEYS[2])]
    assert [one.key for one in joined(copies).approvals] == [one.public_key for one in KEYS]
    with pytest.raises(BadInput, match="different lists"):
        joined([proposal, proposed(min_svn=2)])


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_proposal_survives_its_file():
    for proposal in (proposed(min_svn=1), approved(proposed(retire=["1.0"]), *KEYS), proposed(EMPTY, min_svn=1)):
        assert parse_proposal(proposal_text(proposal)) == proposal


def edited(proposal, **fields):
    return json.dumps(json.loads(proposal_text(proposal)) | fields)


def test_words_that_are_not_what_would_be_signed_are_refused():
    """A proposer shows one list and has another one signed."""
    proposal, other = proposed(min_svn=1), proposed(min_svn=2)
    for text in (
        edited(proposal, statement=b64encode(other.statement).decode()),
        edited(proposal, words=json.loads(proposal_text(other))["words"]),
    ):
        with pytest.raises(BadInput, match="not what would be signed"):
            parse_proposal(text)


def test_a_statement_in_another_encoding_is_refused():
    """What is signed has one encoding, and one reading."""
    proposal = proposed(min_svn=1)
    with pytest.raises(BadInput, match="no proposal"):
        parse_proposal(edited(proposal, statement=b64encode(proposal.statement + b"\xc0").decode()))


def test_a_list_before_of_another_cluster_is_refused():
    other = encode_before(listing(bytes(32), 4, release("1.0", MEASUREMENT)))
    with pytest.raises(BadInput, match="another cluster"):
        parse_proposal(edited(proposed(min_svn=1), before=other))


def encode_before(releases):
    return b64encode(signed(releases, KEYS[:2])).decode()


def test_a_signature_of_another_list_or_one_twice_is_refused():
    proposal, other = approved(proposed(min_svn=1), KEYS[0]), approved(proposed(min_svn=2), KEYS[0])
    theirs, mine = (json.loads(proposal_text(one))["approvals"] for one in (other, proposal))
    with pytest.raises(BadInput, match="not one of this list"):
        parse_proposal(edited(proposal, approvals=theirs))
    with pytest.raises(BadInput, match="twice"):
        parse_proposal(edited(proposal, approvals=mine * 2))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"strongroom": 1}', "x" * (MAX_PROPOSAL + 1), "\ud800"],
)
def test_what_is_no_proposal_is_told_so(text):
    with pytest.raises(BadInput):
        parse_proposal(text)


FIELDS = sorted(json.loads(proposal_text(approved(proposed(min_svn=1), KEYS[0]))))


@given(
    st.sampled_from(FIELDS),
    st.one_of(
        st.none(), st.integers(), st.text(), st.lists(st.text()), st.lists(st.dictionaries(st.text(), st.text()))
    ),
)
def test_any_field_that_is_something_else_gives_only_bad_input(field, value):
    text = edited(approved(proposed(min_svn=1), KEYS[0]), **{field: value})
    with suppress(BadInput):
        parse_proposal(text)


@pytest.mark.parametrize("version", ["1.2" + " " * 60, "1.2 =", "1.2\x1b[2J", "1.2\u202e", "1.2\u3164", "", "1" * 65])
def test_a_version_that_hides_what_stands_beside_it_is_neither_proposed_nor_read(version):
    """An approver reads "NEW" behind it."""
    with pytest.raises(BadInput, match="visible ASCII characters"):
        proposed(add=[release(version, bytes(32), svn=3)])
    statement = encode(listing(ID, 5, release("1.0", MEASUREMENT), release(version, bytes(32))))
    with pytest.raises(BadInput, match="visible ASCII characters"):
        parse_proposal(proposal_text(replace(proposed(min_svn=1), statement=statement)))


# --- what an approver is shown ----------------------------------------------------------------------------------------


def test_a_list_before_that_nobody_signed_makes_no_new_program_old():
    """A proposer makes up the list before, with his own program in it, and without what he retires."""
    evil = release("1.2", bytes([0xEE]) * 32, svn=3)
    made_up = listing(ID, 4, release("1.1", NEW, svn=2), evil)
    proposal = propose(changed(CHARTER, releases=signed(made_up, [])), COUNCIL, "vault")
    by_one = signed(made_up, KEYS[:1])
    by_strangers = signed(made_up, [SshKey(), SshKey()])
    of_another_list = encode(changed(decoded(signed(made_up, [])), approvals=decoded(CHARTER.releases).approvals))
    for before in (proposal.untrusted_before, by_one, by_strangers, of_another_list):
        shown = dict(read(parse_proposal(proposal_text(replace(proposal, untrusted_before=before))), trusting()))
        assert shown["+ 1.2"] == shown["+ 1.1"] == "NEW: this program will get the keys"
        assert "what is RETIRED is not told" in shown["list before"]
        assert "as before" not in shown.values()


def beside(before, *listed, min_svn=0):
    """What an approver sees who knows the list before: of releases and of programs."""
    old, new = listing(ID, 4, *before), listing(ID, 5, *listed, min_svn=min_svn)
    proposal = Proposal(statement=encode(new), untrusted_before=b"", approvers=(), needed=1)
    steps = explain_proposal(proposal, Known(before=old, approvers=(), needed=1))
    return {step.name or step.value.split(" ")[-1]: step.explanation for step in steps}


HOLE, GOOD, OTHER = (bytes([at]) * 32 for at in (0xE1, 0xE2, 0xE3))


def test_a_program_with_a_hole_is_not_lifted_above_the_floor_as_if_it_were_as_before():
    """What is below a floor is retired: by another version, or another security version of the same one, it is not."""
    before = [release("1.0", HOLE, svn=1)]
    for version in ("2.0", "1.0"):
        found = beside(before, release(version, HOLE, svn=3), min_svn=3)
        assert found[f"! {version}"].startswith("RELABELLED")
        assert found[HOLE.hex()] == "WAS 1.0, security version 1"
        assert "as before" not in found.values()


def test_a_known_program_is_not_hidden_behind_a_new_one_of_its_version():
    found = beside([release("1.0", HOLE, svn=1)], release("2.0", GOOD, HOLE, svn=3), min_svn=3)
    assert found["+ 2.0"] == "NEW: those marked so will get the keys, the others have had them"
    assert (found[GOOD.hex()], found[HOLE.hex()]) == ("NEW", "WAS 1.0, security version 1")


def test_two_versions_do_not_change_places_unseen():
    """Else whoever retires 1.0 next retires the good one, and the hole stays."""
    before = [release("1.0", HOLE), release("2.0", GOOD), release("3.0", OTHER)]
    found = beside(before, release("1.0", GOOD), release("2.0", HOLE), release("3.0", OTHER))
    assert (found[GOOD.hex()], found[HOLE.hex()]) == ("WAS 2.0, security version 1", "WAS 1.0, security version 1")
    assert (found["! 1.0"], found["= 3.0"], found[OTHER.hex()]) == (found["! 2.0"], "as before", "")


def test_a_program_that_a_floor_had_retired_comes_back_as_new_and_as_what_it_was():
    old = listing(ID, 4, release("1.0", HOLE, svn=1), min_svn=2)
    new = encode(listing(ID, 5, release("2.0", HOLE, svn=2), min_svn=2))
    proposal = Proposal(statement=new, untrusted_before=b"", approvers=(), needed=1)
    said = [step.explanation for step in explain_proposal(proposal, Known(before=old, approvers=(), needed=1))]
    assert "NEW: this program will get the keys" in said
    assert "WAS 1.0, security version 1" in said


def decoded(releases):
    return decode(releases, SignedReleases, limit=MAX_RELEASES)


def test_a_list_before_that_enough_of_the_readers_own_approvers_signed_shows_what_changes():
    proposal = proposed(add=[release("1.2", bytes(32), svn=3)], retire=["1.0"])
    shown = dict(read(parse_proposal(proposal_text(proposal)), trusting()))
    assert shown == dict(words(proposal))
    assert (shown["+ 1.2"][:3], shown["= 1.1"], shown["- 1.0"][:7]) == ("NEW", "as before", "RETIRED")
    for others in (trusting(approvals=3), trusting(SshKey(), approvals=1), trusting(KEYS[0], approvals=1)):
        assert "as before" not in dict(read(proposal, others)).values()


def test_without_a_policy_that_names_approvers_every_program_is_new():
    proposal = proposed(min_svn=1)
    shown = dict(read(proposal, None))
    assert shown["+ 1.0"] == shown["+ 1.1"] == "NEW: this program will get the keys"
    assert "no trust policy of yours" in shown["list before"]
    first = dict(read(proposed(EMPTY, add=[release("1.0", MEASUREMENT)]), None))
    assert "list before" not in first, "there is none"


def test_a_list_that_follows_an_older_one_than_the_policy_knows_is_shown_as_new():
    """What was retired since would be shown as before."""
    proposal = proposed(min_svn=1)
    assert dict(read(proposal, trusting(min_serial=4)))["= 1.1"] == "as before"
    for late in (proposal, proposed(EMPTY, add=[release("1.0", MEASUREMENT)])):
        shown = dict(read(late, trusting(min_serial=5)))
        assert "there is list 5" in shown["list before"]
        assert "as before" not in shown.values()


def test_how_many_approvals_it_takes_is_the_policys_word():
    """Who reads that four more must sign leaves the look to them."""
    proposal = replace(approved(proposed(min_svn=1), KEYS[0]), needed=5)
    said = {step.name: step for step in explain_proposal(proposal, known_by_policy(proposal, trusting()))}
    assert (said["approvals"].value, said["approvals"].explanation) == ("1 of 2", "that it takes")
    assert known_by_policy(proposal, trusting()).missing(proposal) == 1
    said = {step.name: step for step in explain_proposal(proposal, known_by_policy(proposal, None))}
    assert (said["approvals"].value, said["approvals"].explanation) == ("1 of 5", "that it takes, as the proposer says")


def test_an_approver_whom_the_proposer_made_up_does_not_count():
    friend = SshKey()
    mine = replace(proposed(min_svn=1), approvers=(*COUNCIL.approvers, friend.public_key))
    proposal = approved(mine, friend, KEYS[0])
    steps = explain_proposal(proposal, known_by_policy(proposal, trusting()))
    assert [step.value for step in steps if step.name == "approvals"] == ["1 of 2"]
    assert [step.value for step in steps if "NO APPROVER" in step.explanation] == [fingerprint_of(friend.public_key)]


@pytest.mark.parametrize(
    "before",
    [
        None,
        listing(ID, 3, release("1.0", MEASUREMENT)),
        listing(ID, 5, release("1.0", MEASUREMENT)),
        listing(ID, 4, release("1.0", MEASUREMENT), min_svn=9),
    ],
    ids=["none", "an older one", "the same number", "with a higher floor"],
)
def test_a_list_beside_another_one_than_it_follows_is_refused(before):
    """An older list before hides that a program was retired since; none hides everything that is retired."""
    genuine = b"" if before is None else signed(before, KEYS[:2])
    with pytest.raises(BadInput, match="the list before it is another one"):
        parse_proposal(proposal_text(replace(proposed(min_svn=1), untrusted_before=genuine)))
