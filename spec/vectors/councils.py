"""Vectors of councils: shares and the keys that they are, and charters that were not signed as they must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import shamir_mnemonic.shamir as slip39
from case import Case, Cases, accepted, fixed, flipped, refused, sign
from evidences import genesis
from msgspec.structs import replace
from releasing import APPROVERS, RELEASES

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import Council, Custodian, Watchers, cluster_id
from strongroom.protocol.governance import (
    Charter,
    Gap,
    Seat,
    SignedGap,
    SignedGenesis,
    SignedSuccession,
    Succession,
    attempt_digest,
    statement_digest,
)
from strongroom.protocol.primitives import Domain, KemKey, digest
from strongroom.protocol.shares import WORDS, Share, parse_share, split

NAMES = ("Ada", "Boris", "Chiara")
ATTEMPT = KemKey(fixed("attempt seed"))


@contextmanager
def _drawing(label: str) -> Iterator[None]:
    """Shares are alike in every run: the library has one source of randomness, and a way to set another one."""
    drawn, count = slip39.RANDOM_BYTES, iter(range(100))
    slip39.RANDOM_BYTES = lambda size: fixed(f"{label} {next(count)}", size)
    try:
        yield
    finally:
        slip39.RANDOM_BYTES = drawn


def _shares(label: str) -> list[Share]:
    with _drawing(label):
        return split(fixed(f"{label} seed"), len(NAMES), 2)


FIRST, SECOND = _shares("first council"), _shares("second council")


def _council(label: str, shares: list[Share]) -> Council:
    return Council(
        recovery_key=KemKey(fixed(f"{label} seed")).public,
        ring_token=digest(Domain.RING_TOKEN, fixed(f"{label} ring token")),
        custodians=[
            Custodian(name=name, recipient=f"age1{name.lower()}", key=share.key.public)
            for name, share in zip(NAMES, shares, strict=True)
        ],
        threshold=2,
        approvers=APPROVERS,
        approvals=2,
        release_delay=86400,
    )


GENESIS = genesis(council=_council("first council", FIRST), development=False)
CLUSTER = cluster_id(GENESIS)


def _seats(domain: Domain, statement: bytes, shares: list[Share], *indexes: int) -> list[Seat]:
    return [Seat(index=at, signature=sign(shares[at].key.scalar, domain, statement)) for at in indexes]


FOUNDED = SignedGenesis(statement=GENESIS, accepted=_seats(Domain.ACCEPTANCE, GENESIS, FIRST, 0, 1, 2))


def _succession(**fields: Any) -> SignedSuccession:
    values: dict[str, Any] = {
        "version": 1,
        "cluster": CLUSTER,
        "serial": 1,
        "previous": statement_digest(GENESIS),
        "council": _council("second council", SECOND),
    }
    statement = encode(Succession(**values | fields))
    return SignedSuccession(
        statement=statement,
        accepted=_seats(Domain.ACCEPTANCE, statement, SECOND, 0, 1, 2),
        endorsed=_seats(Domain.ENDORSEMENT, statement, FIRST, 0, 2),
    )


SUCCESSION = _succession()


def _gap(*indexes: int, council: int = 1, **fields: Any) -> SignedGap:
    values: dict[str, Any] = {
        "version": 1,
        "cluster": CLUSTER,
        "recoveries": 1,
        "generation": 1,
        "attempt": attempt_digest(ATTEMPT.public),
        "found_size": 377,
        "found_root": fixed("found root"),
        "known_size": 418,
        "known_root": fixed("known root"),
        "at": 1_790_000_000,
        "watchers": None,
    }
    statement = encode(Gap(**values | fields))
    return SignedGap(
        statement=statement,
        council=council,
        signed=_seats(Domain.GAP, statement, (FIRST, SECOND)[council], *(indexes or (0, 1))),
    )


GAP = _gap()
WATCHERS = Watchers(witnesses=[f"w{at}.example.com+{at}+key" for at in range(3)], cosignatures=2)
CHARTER = Charter(genesis=FOUNDED, successions=[SUCCESSION], gaps=[GAP], recoveries=1, releases=RELEASES, named=[])


def every() -> list[Case]:
    return [*_words(), *_charters(), *_bad_genesis(), *_bad_successions(), *_bad_gaps()]


def _words() -> Cases:
    here = "shares/"
    words = FIRST[1].words
    found = parse_share(words)
    assert len(words.split()) == WORDS
    yield accepted(
        here + "share",
        "the words of one share, and the signing key that it is",
        "share",
        {"words": words},
        public=found.key.public,
        threshold=2,
        index=found.index,
    )
    yield accepted(
        here + "share-as-typed",
        "upper case, and several blanks and lines between the words",
        "share",
        {"words": "  " + words.upper().replace(" ", "\n  ")},
        public=found.key.public,
    )
    first, second, *rest = words.split()
    other = "academic" if first != "academic" else "acid"
    bad = {
        "wrong-word": ("one word is another one of the list", " ".join([other, second, *rest])),
        "no-such-word": ("one word is none of the list", " ".join(["strongroom", second, *rest])),
        "swapped-words": ("two words have changed places", " ".join([second, first, *rest])),
        "missing-word": ("the last word is missing", " ".join([first, second, *rest[:-1]])),
        "no-words": ("nothing", ""),
        "of-half-a-secret": ("a share of a secret of 16 bytes", _other_kind("half", 16)),
        "of-a-slow-secret": ("another iteration exponent than 0", _other_kind("slow", 32, exponent=1)),
        "of-several-groups": ("of a secret in two groups", _other_kind("groups", 32, groups=2)),
    }
    for name, (what, given) in bad.items():
        yield refused(here + name, what, "share", {"words": given}, Number.SHARE_WRONG, "share")
    yield accepted(
        here + "combined",
        "two of three shares make the seed of the recovery key",
        "combine shares",
        {"shares": [FIRST[2].words, FIRST[0].words]},
        seed=fixed("first council seed"),
        public=KemKey(fixed("first council seed")).public,
    )
    apart = {
        "too-few": ("one share, where it takes two", [FIRST[0].words]),
        "of-two-councils": ("a share of each of two councils", [FIRST[0].words, SECOND[1].words]),
        "twice": ("one share twice", [FIRST[0].words, FIRST[0].words]),
    }
    for name, (what, shares) in apart.items():
        yield refused(here + name, what, "combine shares", {"shares": shares}, Number.SHARE_WRONG, "share")


def _other_kind(label: str, size: int, *, exponent: int = 0, groups: int = 1) -> str:
    with _drawing(label):
        made = slip39.generate_mnemonics(1, [(2, 3)] * groups, fixed(label, size), iteration_exponent=exponent)
    return str(made[0][0])


def _given(charter: Charter) -> dict[str, Any]:
    return {"charter": encode(charter)}


def _charters() -> Cases:
    here = "cluster/"
    yield accepted(
        here + "charter-founded",
        "a cluster that was just founded: all three custodians accepted",
        "verify charter",
        _given(replace(CHARTER, successions=[], gaps=[], recoveries=0, releases=b"")),
        cluster_id=CLUSTER,
        council=0,
        generation=0,
    )
    yield accepted(
        here + "charter",
        "a second council, and a gap that two of it signed",
        "verify charter",
        _given(CHARTER),
        cluster_id=CLUSTER,
        council=1,
        generation=1,
    )
    yield accepted(
        here + "charter-watchers",
        "custodians have named others to watch the log, and the gap after that carries them on",
        "verify charter",
        _given(
            replace(
                CHARTER,
                gaps=[GAP, _gap(generation=2, watchers=WATCHERS), _gap(generation=3, watchers=WATCHERS)],
                recoveries=3,
            )
        ),
        cluster_id=CLUSTER,
        council=1,
        generation=3,
    )
    yield accepted(
        here + "charter-generation-left-out",
        "generation 1 began in a recovery that the backup knows nothing of",
        "verify charter",
        _given(replace(CHARTER, gaps=[_gap(generation=2), _gap(generation=3, recoveries=2)], recoveries=2)),
        cluster_id=CLUSTER,
        council=1,
        generation=3,
    )


def _bad_genesis() -> Cases:
    accepted_by = FOUNDED.accepted
    twin = genesis(council=_council("first council", FIRST), development=False, role="authenticator")
    bad = {
        "acceptance-missing": ("one custodian has not accepted", accepted_by[:2]),
        "acceptance-twice": ("two signed, one of them twice", [*accepted_by[:2], accepted_by[1]]),
        "acceptance-by-another": (
            "one custodian signed in another's place",
            [*accepted_by[:2], Seat(index=2, signature=accepted_by[1].signature)],
        ),
        "acceptance-by-nobody": (
            "a fourth signed, and there are three",
            [*accepted_by, replace(accepted_by[0], index=3)],
        ),
        "acceptance-flipped": (
            "a bit of a signature flipped",
            [replace(accepted_by[0], signature=flipped(accepted_by[0].signature, 40)), *accepted_by[1:]],
        ),
        "acceptance-under-another-label": (
            "signed as an endorsement",
            _seats(Domain.ENDORSEMENT, GENESIS, FIRST, 0, 1, 2),
        ),
        "acceptance-of-another": ("signed for another cluster", _seats(Domain.ACCEPTANCE, twin, FIRST, 0, 1, 2)),
    }
    for name, (what, seats) in bad.items():
        charter = replace(CHARTER, genesis=SignedGenesis(statement=GENESIS, accepted=seats), successions=[], gaps=[])
        yield refused("cluster/" + name, what, "verify charter", _given(charter), Number.INTEGRITY, "charter")


def _bad_successions() -> Cases:
    other = statement_digest(genesis())
    members = _succession()
    strangers = _seats(Domain.ENDORSEMENT, SUCCESSION.statement, SECOND, 0, 2)
    bad = {
        "endorsed-by-too-few": (
            "one of the council before, where it takes two",
            replace(members, endorsed=members.endorsed[:1]),
        ),
        "endorsed-by-one-twice": (
            "one of the council before, twice",
            replace(members, endorsed=[members.endorsed[0], members.endorsed[0]]),
        ),
        "endorsed-by-nobody": ("a council that no custodian before has signed", replace(members, endorsed=[])),
        "endorsed-by-non-members": ("the new council endorsed itself", replace(members, endorsed=strangers)),
        "endorsed-under-another-label": (
            "the council before signed it as an acceptance",
            replace(members, endorsed=_seats(Domain.ACCEPTANCE, SUCCESSION.statement, FIRST, 0, 2)),
        ),
        "succession-acceptance-missing": (
            "one of the new council has not decrypted his share",
            replace(members, accepted=members.accepted[1:]),
        ),
        "succession-skips-serial": ("the second council calls itself the third", _succession(serial=2)),
        "succession-of-another-cluster": ("signed for another cluster", _succession(cluster=cluster_id(genesis()))),
        "succession-follows-another": ("it names another statement before it", _succession(previous=other)),
    }
    for name, (what, signed) in bad.items():
        charter = replace(CHARTER, successions=[signed], gaps=[])
        yield refused("cluster/" + name, what, "verify charter", _given(charter), Number.INTEGRITY, "charter")
    twice = replace(CHARTER, successions=[SUCCESSION, SUCCESSION], gaps=[])
    what = "the second council stands there twice"
    yield refused("cluster/succession-twice", what, "verify charter", _given(twice), Number.INTEGRITY, "charter")


def _bad_gaps() -> Cases:
    one = _gap(0)
    bad = {
        "gap-signed-by-too-few": ("one custodian, where it takes two", one),
        "gap-signed-by-one-twice": ("one custodian twice", replace(one, signed=[one.signed[0], one.signed[0]])),
        "gap-signed-by-nobody": ("nobody signed it", replace(one, signed=[])),
        "gap-of-another-council": (
            "signed by the council before, and said to be of this one",
            replace(_gap(council=0), council=1),
        ),
        "gap-of-no-council": ("of a council that there is not", replace(GAP, council=2)),
        "gap-of-another-cluster": ("signed for another cluster", _gap(cluster=cluster_id(genesis()))),
        "gap-of-no-generation": ("it begins the generation that the log began with", _gap(generation=0)),
        "gap-changed": (
            "it gives up more than was signed",
            replace(GAP, statement=_gap(found_size=1).statement),
        ),
    }
    for name, (what, signed) in bad.items():
        charter = replace(CHARTER, gaps=[signed])
        yield refused("cluster/" + name, what, "verify charter", _given(charter), Number.INTEGRITY, "charter")
    again = replace(CHARTER, gaps=[GAP, _gap(known_size=500)])
    what = "the gap after the one that names other witnesses leaves them out: those of before would be back"
    back = replace(CHARTER, gaps=[_gap(watchers=WATCHERS), _gap(generation=2)])
    yield refused("cluster/gap-without-watchers", what, "verify charter", _given(back), Number.INTEGRITY, "charter")
    what = "a second gap begins the generation that the first began"
    yield refused(
        "cluster/gap-of-a-generation-again", what, "verify charter", _given(again), Number.INTEGRITY, "charter"
    )
