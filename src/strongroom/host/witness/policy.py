"""Which witnesses a Vault has, how many it takes, and where they are: a file by C2SP tlog-policy, of its flat kind.

The host only brings it: what counts are the keys that stand in the genesis statement and in each client's trust policy.
Read here are `witness` with its URL, one `group` and `quorum`; `log` lines are for others and ignored. Groups of groups
are refused, and so is a quorum of half or less: two histories could each have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.protocol.errors import Misuse
from strongroom.protocol.limits import MAX_WITNESSES
from strongroom.protocol.notes import COSIGNATURE, Verifier, parse_verifier

_MAX_FILE: Final = 64 * 1024
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.ASCII)
_COUNT: Final = re.compile("[1-9][0-9]{0,3}")


class BadPolicy(Exception):
    """The file is not a policy that a Vault can have; the text says where and why, `hint` what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        self.hint = hint
        super().__init__(reason)


class WitnessAt(NamedTuple):
    """One witness."""

    name: str
    """In the file only."""
    verifier: Verifier
    url: str
    """Submission prefix, without a slash at its end."""


@dataclass(frozen=True, slots=True)
class Policy:
    witnesses: tuple[WitnessAt, ...]
    cosignatures: int
    """How many of them it takes: more than half."""

    @property
    def vkeys(self) -> list[str]:
        """What goes into the genesis statement, in order."""
        return [str(witness.verifier) for witness in self.witnesses]


class _Group(NamedTuple):
    threshold: int
    members: tuple[str, ...]


class _Line(NamedTuple):
    number: int
    words: list[str]


def read_policy(path: Path) -> Policy:
    """Raises `BadPolicy`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise BadPolicy(f"can't read {path}: {error.strerror}", "name a file with witnesses") from None
    return parse_policy(data)


def parse_policy(data: bytes) -> Policy:
    """Raises `BadPolicy`."""
    if len(data) > _MAX_FILE:
        raise BadPolicy(f"it has more than {_MAX_FILE // 1024} KiB", "name a file by C2SP tlog-policy")
    witnesses: dict[str, WitnessAt] = {}
    groups: dict[str, _Group] = {}
    quorum: _Line | None = None
    for line in _lines(data):
        match line.words:
            case ["log", _] | ["log", _, _]:
                pass
            case ["witness", name, vkey, *url] if len(url) <= 1:
                _verify_new(line, name, (*witnesses, *groups))
                witnesses[name] = _witness(line, name, vkey, url, witnesses.values())
            case ["group", name, threshold, *members] if members:
                _verify_new(line, name, (*witnesses, *groups))
                groups[name] = _group(line, threshold, members, witnesses, groups)
            case ["quorum", name] if quorum is None:
                if name != "none" and name not in witnesses and name not in groups:
                    raise _bad(
                        line, f"{_shown(name)} is no witness or group of the lines before", "define it above this line"
                    )
                quorum = line
            case ["quorum", _]:
                raise _bad(line, "there is a quorum already", "keep one of the quorum lines")
            case _:
                raise _bad(
                    line,
                    "this is no line of a witness policy",
                    "write `witness NAME VKEY URL`, `group NAME K WITNESS…` or `quorum NAME`",
                )
    if quorum is None:
        raise BadPolicy("there is no quorum line", "end the file with `quorum NAME-OF-THE-GROUP`")
    return _policy(quorum, witnesses, groups)


def _lines(data: bytes) -> Iterator[_Line]:
    """Lines that say something. Raises `BadPolicy`."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        if _CONTROL.search(raw):
            hint = "end lines with a newline alone, part words with blanks and tabs"
            raise BadPolicy(f"line {number}: it has a control character", hint)
        stripped = raw.strip(b" \t")
        if stripped and not stripped.startswith(b"#"):
            # Names are opaque bytes to the specification: what is no UTF-8 still has its one text here.
            yield _Line(number, [word.decode("utf-8", "surrogateescape") for word in re.split(rb"[ \t]+", stripped)])


def _witness(line: _Line, name: str, vkey: str, url: Sequence[str], others: Iterable[WitnessAt]) -> WitnessAt:
    try:
        verifier = parse_verifier(vkey, COSIGNATURE)
    except Misuse as error:
        raise _bad(line, f"{_shown(name)}: {error.reason}", "copy the verifier key that the witness prints") from None
    if any(verifier.public == other.verifier.public for other in others):
        raise _bad(line, f"{_shown(name)} has the key of a witness above", "one witness counts once: remove a line")
    if not url or not _URL.fullmatch(url[0]) or not url[0].isascii():
        raise _bad(line, f"{_shown(name)} has no URL", "end the line with its submission prefix, https://…")
    return WitnessAt(name, verifier, url[0].rstrip("/"))


def _group(
    line: _Line, threshold: str, members: Sequence[str], witnesses: Iterable[str], groups: Mapping[str, _Group]
) -> _Group:
    for member in members:
        if member in groups:
            raise _bad(line, f"{_shown(member)} is a group", "name witnesses: a Vault counts no groups of groups")
        if member not in witnesses:
            raise _bad(line, f"{_shown(member)} is no witness of the lines before", "define it above this line")
    named = [member for group in groups.values() for member in group.members] + list(members)
    if len(set(named)) < len(named):
        raise _bad(line, "a witness is named twice in groups", "name each once")
    count = {"any": 1, "all": len(members)}.get(threshold)
    if count is None:
        count = int(threshold) if _COUNT.fullmatch(threshold) else 0
    if not 1 <= count <= len(members):
        raise _bad(line, f"{_shown(threshold)} is not any, all, or 1 to {len(members)}", "write how many it takes")
    return _Group(count, tuple(members))


def _policy(quorum: _Line, witnesses: Mapping[str, WitnessAt], groups: Mapping[str, _Group]) -> Policy:
    name = quorum.words[1]
    if name == "none":
        raise _bad(quorum, "a quorum of none watches nothing", "name a group, or serve without witnesses")
    threshold, members = groups.get(name, _Group(1, (name,)))
    if left_out := next((witness for witness in witnesses if witness not in members), None):
        raise _bad(quorum, f"{_shown(left_out)} is not in the quorum", "name all witnesses in one group, or remove it")
    if len(members) > MAX_WITNESSES:
        raise _bad(quorum, f"a Vault has at most {MAX_WITNESSES} witnesses", "choose some of them")
    if 2 * threshold <= len(members):
        enough = len(members) // 2 + 1
        raise _bad(
            quorum,
            f"{threshold} of {len(members)} is not more than half: two histories could each have as many",
            f"take {enough} or more",
        )
    return Policy(tuple(witnesses.values()), threshold)


def _verify_new(line: _Line, name: str, known: Iterable[str]) -> None:
    if name == "none" or name in known:
        raise _bad(line, f"the name {_shown(name)} is taken", "give each witness and group a name of its own")


def _bad(line: _Line, reason: str, hint: str) -> BadPolicy:
    return BadPolicy(f"line {line.number}: {reason}", hint)


def _shown(name: str) -> str:
    """Opaque bytes, for people."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
