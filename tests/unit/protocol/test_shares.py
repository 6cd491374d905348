"""Shares of a recovery key: what any M of N make, and what fewer or mixed ones don't."""

import itertools
import os

import pytest

from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.primitives import Domain, verify_signature
from strongroom.protocol.shares import WORDS, combine, parse_share, split

FOREIGN = (
    "duckling enlarge academic academic agency result length solution fridge kidney coal piece deal husband erode duke "
    "ajar critical decision keyboard"
)
"""The first vector of SLIP-39: a share of a secret of 16 bytes."""


def number_of(call):
    with pytest.raises(Misuse) as caught:
        call()
    return caught.value.number


@pytest.mark.parametrize(("count", "threshold"), [(1, 1), (2, 2), (5, 3), (16, 9), (16, 16)])
def test_as_many_as_the_threshold_make_the_seed(count, threshold):
    seed = os.urandom(32)
    shares = split(seed, count, threshold)
    assert combine(shares[-threshold:]) == seed
    assert {len(share.words.split()) for share in shares} == {WORDS}
    assert len({share.key.public for share in shares}) == count


def test_every_set_of_three_of_five_makes_it_and_no_two_do():
    seed = os.urandom(32)
    shares = split(seed, 5, 3)
    for some in itertools.combinations(shares, 3):
        assert combine(some) == seed
    for few in itertools.combinations(shares, 2):
        assert number_of(lambda few=few: combine(few)) is Number.SHARE_WRONG


def test_shares_of_two_secrets_do_not_mix():
    one, other = split(os.urandom(32), 3, 2), split(os.urandom(32), 3, 2)
    assert number_of(lambda: combine([one[0], other[1]])) is Number.SHARE_WRONG


def test_the_key_of_a_share_is_the_same_whenever_its_words_are_read():
    share = split(os.urandom(32), 3, 2)[1]
    again = parse_share(f"  {share.words.upper()}\n")
    assert (again.words, again.key.public, again.threshold) == (share.words, share.key.public, 2)
    verify_signature(share.key.public, again.key.sign(Domain.ACCEPTANCE, b"x"), Domain.ACCEPTANCE, b"x")


def test_a_share_shows_no_words_in_logs():
    share = split(os.urandom(32), 3, 2)[0]
    assert not set(share.words.split()[3:]) & set(repr(share).split())
    assert "scalar" not in repr(share)


@pytest.mark.parametrize("damage", ["swapped", "missing", "another", "none", "short", "more"])
def test_a_wrong_word_is_noticed_and_no_word_is_repeated(damage):
    def told():
        words = split(os.urandom(32), 3, 2)[0].words.split()
        at = next(at for at in range(10, 32) if words[at] != words[at + 1])
        bent = {
            "swapped": [*words[:at], words[at + 1], words[at], *words[at + 2 :]],
            "missing": words[:-1],
            "another": [*words[:20], "academic" if words[20] != "academic" else "acid", *words[21:]],
            "none": [],
            "short": FOREIGN.split(),
            "more": [*words, "academic"],
        }[damage]
        with pytest.raises(Misuse) as caught:
            parse_share(" ".join(bent))
        assert caught.value.number is Number.SHARE_WRONG
        return str(caught.value)

    # The same text for any two shares. Words of our own would be in one of many shares by chance.
    assert told() == told()


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (lambda words: words[:-1], "32 words, 33 wanted"),
        (lambda words: [*words[:6], "strongroom", *words[7:]], "word 7 is not in the list"),
        (lambda words: [*words, "x", "y"], "35 words, 33 wanted; words 34, 35 are not in the list"),
        (lambda words: ["x"] * 33, "words 1, 2, 3, 4, 5, 6… are not in the list"),
        (lambda words: [*words[1:], words[0]], "every word is one of the list, and they do not belong together"),
    ],
)
def test_who_typed_a_share_unseen_is_told_where_it_is_wrong(bend, said):
    """By number, since an error's text reaches logs."""
    words = split(os.urandom(32), 3, 2)[0].words.split()
    with pytest.raises(Misuse) as caught:
        parse_share(" ".join(bend(words)))
    assert caught.value.number is Number.SHARE_WRONG
    assert said in caught.value.error
    assert "strongroom" not in caught.value.error


@pytest.mark.parametrize(("count", "threshold"), [(0, 0), (3, 0), (3, 4), (17, 3), (3, 1), (-1, -1)])
def test_numbers_that_could_never_agree_are_refused(count, threshold):
    assert number_of(lambda: split(bytes(32), count, threshold)) is Number.COUNCIL_INVALID
