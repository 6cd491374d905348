"""A witness policy is C2SP's, flat, and says in which line it is not."""

import pytest

from strongroom.host.witness.policy import BadPolicy, parse_policy, read_policy
from strongroom.protocol.limits import MAX_WITNESSES
from strongroom.protocol.notes import COSIGNATURE, ED25519, Verifier

KEYS = [Verifier(f"w.example/{n}", COSIGNATURE, bytes([n]) * 32) for n in range(MAX_WITNESSES + 1)]
LOG = Verifier("example.com/log", ED25519, bytes(32))
W1, W2, W3 = (f"witness W{n} {KEYS[n]} https://w{n}.example/" for n in (1, 2, 3))


def policy(*lines):
    return parse_policy("\n".join(lines).encode() + b"\n")


def refusal(*lines):
    with pytest.raises(BadPolicy) as caught:
        policy(*lines)
    assert caught.value.hint
    return str(caught.value)


def test_two_of_three():
    found = policy(
        "# ours",
        f"log {LOG} https://log.example",
        f"log {LOG.name}+00000000+BgAB",
        W1,
        f"\twitness\tW2  {KEYS[2]}\thttp://127.0.0.1:8600 ",
        "",
        " # another's",
        W3,
        "group all-of-us 2 W1 W2 W3",
        "quorum all-of-us",
    )
    assert found.cosignatures == 2
    assert found.vkeys == [str(KEYS[n]) for n in (1, 2, 3)]
    assert [one.url for one in found.witnesses] == ["https://w1.example", "http://127.0.0.1:8600", "https://w3.example"]


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ((W1, "quorum W1"), 1),
        ((W1, "group G any W1", "quorum G"), 1),
        ((W1, W2, W3, "group G all W3 W1 W2", "quorum G"), 3),
        ((W1, W2, "group G 2 W1 W2", "quorum G"), 2),
    ],
)
def test_a_quorum_may_be_one_witness_or_written_in_words(lines, count):
    assert policy(*lines).cosignatures == count


def test_half_is_no_quorum_because_two_histories_could_each_have_one():
    assert refusal(W1, W2, "group G 1 W1 W2", "quorum G").startswith("line 4: 1 of 2 is not more than half")
    assert refusal(W1, W2, W3, "group G any W1 W2 W3", "quorum G").startswith("line 5: 1 of 3 is not more than half")


def test_one_witness_counts_once_under_whatever_name():
    again = Verifier("w.example/again", COSIGNATURE, KEYS[1].public)
    assert "line 2: W9 has the key of a witness above" in refusal(W1, f"witness W9 {again} https://a.example")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "no quorum line"),
        (("witness",), "line 1: this is no line"),
        (("witness W1",), "line 1: this is no line"),
        ((f"witness W1 {KEYS[1]} https://a.example more",), "line 1: this is no line"),
        ((f"witness W1 {KEYS[1]}",), "line 1: W1 has no URL"),
        ((f"witness W1 {KEYS[1]} w1.example",), "line 1: W1 has no URL"),
        ((f"witness W1 {KEYS[1]} ftp://w1.example",), "line 1: W1 has no URL"),
        ((f"witness W1 {KEYS[1]} https://user@w1.example",), "line 1: W1 has no URL"),
        ((f"witness W1 {KEYS[1]} https://w1.example/?a",), "line 1: W1 has no URL"),
        ((f"witness W1 {KEYS[1]} https://größe.example/",), "line 1: W1 has no URL"),
        ((f"witness W1 {LOG} https://w1.example",), "line 1: W1: the verifier key example.com/log is not a witness's"),
        (("witness W1 w.example+00000000+BgAB https://w1.example",), "not a witness's"),
        (("witness W1 hello https://w1.example",), "line 1: W1: a verifier key is NAME+HASH+KEY"),
        ((W1, W1.replace("W1", "W1", 1)), "line 2: the name W1 is taken"),
        ((f"witness none {KEYS[1]} https://w1.example",), "line 1: the name none is taken"),
        ((W1, "group W1 any W1"), "line 2: the name W1 is taken"),
        ((W1, "group none any W1"), "line 2: the name none is taken"),
        ((W1, "group G any"), "line 2: this is no line"),
        ((W1, "group G 0 W1"), "line 2: 0 is not any, all, or 1 to 1"),
        ((W1, "group G 2 W1"), "line 2: 2 is not any, all, or 1 to 1"),
        ((W1, "group G 01 W1"), "line 2: 01 is not any"),
        ((W1, "group G some W1"), "line 2: some is not any"),
        ((W1, "group G any W2"), "line 2: W2 is no witness of the lines before"),
        ((W1, "group G any none"), "line 2: none is no witness of the lines before"),
        ((W1, "group G any W1 W1"), "line 2: a witness is named twice"),
        ((W1, "group G any W1", "group H any G"), "line 3: G is a group"),
        ((W1, "group G any W1", "group H any W1"), "line 3: a witness is named twice"),
        ((W1, W2, "group G any W1", "quorum G"), "line 4: W2 is not in the quorum"),
        ((W1, W2, "quorum W1"), "line 3: W2 is not in the quorum"),
        (("quorum none",), "line 1: a quorum of none watches nothing"),
        (("quorum W1", W1), "line 1: W1 is no witness or group of the lines before"),
        ((W1, "quorum W1", "quorum W1"), "line 3: there is a quorum already"),
        ((W1, "quorum"), "line 2: this is no line"),
        (("hello", W1, "quorum W1"), "line 1: this is no line"),
        (("# windows\r", W1, "quorum W1"), "line 1: it has a control character"),
        ((W1, "quorum W1\x0b"), "line 2: it has a control character"),
        ((W1, "quorum W1 \x7f"), "line 2: it has a control character"),
        ((W1, "quorum\xa0W1"), "line 2: this is no line"),
    ],
)
def test_what_is_no_policy_says_where(lines, words):
    assert words in refusal(*lines)


def test_more_witnesses_than_a_vault_has_are_told():
    lines = [f"witness W{n} {key} https://w{n}.example" for n, key in enumerate(KEYS)]
    members = " ".join(f"W{n}" for n in range(len(KEYS)))
    assert f"at most {MAX_WITNESSES}" in refusal(*lines, f"group G all {members}", "quorum G")


def test_names_are_bytes():
    """A Kelvin sign is no K, and what is no UTF-8 is a name all the same; a key must be text."""
    kelvin = "witness \N{KELVIN SIGN} ".encode() + f"{KEYS[1]} https://a.example\n".encode()
    with pytest.raises(BadPolicy, match="K is no witness"):
        parse_policy(kelvin + b"quorum K\n")
    latin = b"# caf\xe9\nwitness caf\xe9 " + f"{KEYS[1]} https://a.example\n".encode()
    assert parse_policy(latin + b"quorum caf\xe9").cosignatures == 1
    with pytest.raises(BadPolicy, match="caf\N{REPLACEMENT CHARACTER} is taken"):
        parse_policy(latin * 2)
    with pytest.raises(BadPolicy, match="a verifier key is"):
        parse_policy(b"witness W caf\xe9+00000000+BAAB https://a.example\n")


def test_a_file_that_is_not_there_or_endless_is_told(tmp_path):
    with pytest.raises(BadPolicy, match="No such file"):
        read_policy(tmp_path / "none")
    (tmp_path / "long").write_bytes(b"#" * 100_000)
    with pytest.raises(BadPolicy, match="64 KiB"):
        read_policy(tmp_path / "long")
    (tmp_path / "good").write_text(f"{W1}\nquorum W1\n")
    assert read_policy(tmp_path / "good").vkeys == [str(KEYS[1])]
