"""`trust.toml`: a trust policy as text that a person can read, compare and edit. Text in, text out; no files.

Both directions follow the types in `attestation.policy`: bytes are hex, a platform without a section is refused, and an
optional list that stands for "no matter which" says "any". Approvers of releases are lines as in a `.pub` file. A Vault
without witnesses is one of which nothing is said.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect as shape

from strongroom.attestation.policy import IntelPolicy, ReleaseAuthority, RolePolicy, TrustPolicy, sections_of
from strongroom.attestation.toml_text import parse_toml
from strongroom.attestation.witnessing import parse_witnesses
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number
from strongroom.protocol.notes import COSIGNATURE, parse_verifier
from strongroom.protocol.sshsig import key_line, parse_key_line, parse_ssh_key

MAX_TRUST_FILE: Final = 256 * 1024
"""Bytes."""

_ANY: Final = "any"
_ADVISORY: Final = re.compile(r"INTEL-SA-[0-9]{5}")
_WIDTH: Final = 160
"""Columns up to which an entry of a list stands on one line."""
_SHORT: Final = 72
"""Columns up to which a whole list does."""
_SHAPE: Final = shape.type_info(TrustPolicy)
_ROLE: Final = shape.type_info(RolePolicy)

_NO_WITNESSES: Final = {"witnesses": [], "cosignatures": 0}

_COMMENTS: Final = {
    "clusters": "Clusters. Without this pin the host could start the genuine program with custodians of its own.",
    "config": "Settings that may differ from the default, exactly so; any other difference is refused.",
    "roots": "SHA-256 of the development roots that software evidence may come from.",
    "measurements": "Exact programs. The strongest pin: only code with this digest is trusted.",
    "signers": "Programs by who signed them, at this security version or above. Each signer CAN READ what you store.",
    "tcb_statuses": "States of processor and microcode that are good enough.",
    "grace_days": "Days, from the date of the state that it reaches, for which an OutOfDate machine is still accepted.",
    "refused_advisories": "Known weaknesses (vendor advisories) that are not.",
    "min_tcb_evaluation": "Lowest edition of the vendor's assessment: an older one does not know the newer weaknesses.",
    "platform_ids": 'Machines, by PPID; "any" accepts quotes forged with keys taken from a machine of somebody else.',
    "allow_smt": "States of the machine that are accepted; false refuses also where the vendor does not say.",
    "products": "Lines of processors, with the lowest security version of each part. Milan's keys can be extracted.",
    "chip_ids": 'Machines, by CHIP_ID; "any" accepts reports forged with keys taken from a machine of somebody else.',
    "vmpls": "Privilege levels that may have asked for the report; 0 is the most privileged.",
    "vlek_providers": "Cloud providers whose own key (VLEK) may sign in place of the chip's; none where it is empty.",
    "require_crl": "AMD's list of revoked certificates must come along.",
    "allow_perfmon": "Performance counters inside the TD.",
    "instances": 'EC2 instances; "any" accepts every one of AWS.',
    "witnesses": "Who watches that the Vault shows everybody one history, and never an older state (verifier keys).",
    "cosignatures": "How many of them must have seen what the Vault shows.",
    "approvers": "Who may add programs to those below, and retire any: public ssh keys. Together they CAN READ.",
    "approvals": "How many of them it takes.",
    "min_serial": "Lowest number of their list: an older one names programs that were retired since.",
}
_SECTIONS: Final = {
    "sgx": "Intel SGX; measurement: MRENCLAVE, signer: MRSIGNER.",
    "tdx": "Intel TDX; measurement: MRTD and the four RTMRs.",
    "snp": "AMD SEV-SNP; measurement: MEASUREMENT, signer: digest of the author or ID key of the ID block.",
    "nitro": "AWS Nitro Enclaves; measurement: PCR0 to PCR2, signer: PCR8.",
    "insecure_software": "INSECURE: no hardware. Whoever runs that machine can read everything.",
}
_RELEASES: Final = "Releases: programs that these people list count as if they were named here."
_SSH_KEYS: Final = "approvers"
"""The field whose bytes are keys as OpenSSH writes them, not hex."""


def parse_trust_policy(text: str) -> TrustPolicy:
    """Parse `trust.toml`. Every field must be there, nothing else may; only sections of platforms may be left out, and
    the witnesses together with their number.

    Raises `Misuse` with the place: line and column of a syntax error, else the line and the field's dotted name.
    """
    if len(text.encode("utf-8", "replace")) > MAX_TRUST_FILE:
        raise Misuse(Number.TOO_LARGE, f"trust policy: more than {MAX_TRUST_FILE:,} bytes")
    try:
        untyped = parse_toml(text)
    except ValueError as error:
        raise Misuse(Number.MALFORMED, f"trust policy: not TOML: {error}") from None
    try:
        if not untyped.keys() & _NO_WITNESSES.keys():
            untyped |= _NO_WITNESSES
        policy = msgspec.convert(_from_text(untyped, _SHAPE, ""), TrustPolicy, builtin_types=(bytes,))
    except _Misplaced as error:
        raise _misuse(text, error.what, error.place) from None
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # UnicodeEncodeError: half of a surrogate pair
        # msgspec ends its text with " - at `$.vault.clusters[0]`".
        what, _, place = str(error).partition(" - at ")
        raise _misuse(text, what, place.strip("`$.")) from None
    _verify_name(text, policy)
    _verify_advisories(text, policy)
    _verify_releases(text, policy)
    _verify_witnesses(text, policy)
    return policy


def parse_workload_policy(untyped: dict[str, Any], place: str) -> RolePolicy:
    """Of code that counts as somebody: what a role's part of `trust.toml` says of platforms, and no more than that.

    `untyped` is a table as TOML's parser gives it, `place` what that table is called in its file. Raises `Misuse` with
    the place.
    """
    try:
        for name in ("clusters", "config", "releases"):
            if name in untyped:
                raise _Misplaced(f"{name} are of Strongroom's own enclaves, and other code has none", f"{place}.{name}")
        if not untyped:
            raise _Misplaced(f"expected one of {', '.join(_SECTIONS)}: no evidence would be accepted", place)
        typed = _from_text(untyped, _ROLE, place) | {"clusters": [], "config": []}
        return msgspec.convert(typed, RolePolicy, builtin_types=(bytes,))
    except _Misplaced as error:
        raise Misuse(Number.MALFORMED, f"{error.what} - at {error.place}") from None
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        what, _, below = str(error).partition(" - at ")
        raise Misuse(Number.MALFORMED, f"{what} - at {place}{below.strip('`$')}") from None


def format_trust_policy(policy: TrustPolicy) -> str:
    """The text of a policy, with a comment on what each pin means; `parse_trust_policy` gives the policy back.

    Raises `Misuse` when the name hides, or wrongly claims, that the policy accepts software evidence, and for witnesses
    or approvers that nobody could count.
    """
    _verify_name("", policy)
    _verify_releases("", policy)
    _verify_witnesses("", policy)
    lines = [
        "# What this client trusts. Evidence that does not fit is refused; an empty list accepts nothing, and neither",
        "# does a platform without a section.",
        f"version = {policy.version}",
        f"name = {_value(policy.name)}",
    ]
    if policy.witnesses:
        lines += _fields(policy, "", _NO_WITNESSES)
    for name in ("vault", "authenticator"):
        role = getattr(policy, name)
        lines += ["", f"[{name}]", *_fields(role, name, ("clusters", "config"))]
        for section, comment in (("releases", _RELEASES), *_SECTIONS.items()):
            found: Message | None = getattr(role, section)
            if found is not None:
                place = f"{name}.{section}"
                lines += ["", f"# {comment}", f"[{place}]", *_fields(found, place, found.__struct_fields__)]
    return "\n".join(lines) + "\n"


def _verify_name(text: str, policy: TrustPolicy) -> None:
    """A policy that accepts software evidence says so by name, so that nobody uses it unaware."""
    named = "insecure" in policy.name
    accepts = any(role.insecure_software is not None for role in (policy.vault, policy.authenticator))
    if accepts and not named:
        raise _misuse(text, 'one that accepts software evidence must have "insecure" in its name', "name")
    if named and not accepts:
        raise _misuse(text, 'named "insecure" but accepts no software evidence', "name")


def _verify_advisories(text: str, policy: TrustPolicy) -> None:
    """A name that Intel never gives, such as INTEL-SA-289, would refuse nothing, and nobody would notice."""
    for name in ("vault", "authenticator"):
        for kind, section in sections_of(getattr(policy, name)).items():
            for at, advisory in enumerate(section.refused_advisories if isinstance(section, IntelPolicy) else ()):
                if not _ADVISORY.fullmatch(advisory):
                    place = f"{name}.{kind.replace('-', '_')}.refused_advisories[{at}]"
                    raise _misuse(text, "expected INTEL-SA- and five digits", place)


def _verify_releases(text: str, policy: TrustPolicy) -> None:
    for name in ("vault", "authenticator"):
        authority: ReleaseAuthority | None = getattr(policy, name).releases
        if authority is None:
            continue
        place, approvers = f"{name}.releases", authority.approvers
        for at, key in enumerate(approvers):
            try:
                parse_ssh_key(key)
            except Misuse as error:
                raise _misuse(text, error.reason, f"{place}.approvers[{at}]") from None
            if key in approvers[:at]:
                raise _misuse(text, "this key stands there already, and is counted once", f"{place}.approvers[{at}]")
        fewest, most = min(1, len(approvers)), len(approvers)
        if not fewest <= authority.approvals <= most:
            raise _misuse(text, f"expected a number from {fewest} to {most}, the approvers", f"{place}.approvals")


def _verify_witnesses(text: str, policy: TrustPolicy) -> None:
    for at, key in enumerate(policy.witnesses):
        try:
            parse_verifier(key, COSIGNATURE)
        except Misuse as error:
            raise _misuse(text, error.reason, f"witnesses[{at}]") from None
    try:
        parse_witnesses(policy.witnesses, policy.cosignatures)
    except Misuse as error:
        raise _misuse(text, error.reason, "cosignatures") from None


# --- reading ------------------------------------------------------------------------------------------------------


class _Misplaced(Exception):
    def __init__(self, what: str, place: str) -> None:
        self.what = what
        self.place = place
        super().__init__(what)


def _from_text(value: Any, kind: shape.Type, place: str) -> Any:
    """`value` with bytes for hex, None for "any" and for sections left out; the strict conversion sees to the rest."""
    match kind:
        case shape.Metadata():
            return _from_text(value, kind.type, place)
        case shape.UnionType():
            if value == _ANY and not _is_section(kind):
                return None
            if not isinstance(value, list) and not _is_section(kind):
                raise _Misplaced('expected a list in brackets, or "any" without them', place)
            return _from_text(value, next(one for one in kind.types if not isinstance(one, shape.NoneType)), place)
        case shape.BytesType() if f".releases.{_SSH_KEYS}[" in place:
            return _from_line(value, place)
        case shape.BytesType():
            return _from_hex(value, kind.min_length or 0, place)
        case shape.ListType() if not isinstance(value, list):
            raise _Misplaced("expected a list in brackets", place)
        case shape.ListType():
            return [_from_text(one, kind.item_type, f"{place}[{at}]") for at, one in enumerate(value)]
        case shape.LiteralType() if value not in kind.values or isinstance(value, bool):
            raise _Misplaced(f"expected {' or '.join(map(repr, kind.values))}", place)
        case shape.BoolType() if not isinstance(value, bool):
            raise _Misplaced("expected true or false", place)
        case shape.StructType() if not isinstance(value, dict):
            raise _Misplaced(f"expected {'a section' if '.' not in place else 'fields in { }'}", place)
        case shape.StructType():
            types = {field.name: field.type for field in kind.fields}
            below = f"{place}." if place else ""
            for name in value:
                if name not in types:
                    raise _Misplaced(_unknown(name, types), f"{below}{name}")
            left_out = {name: None for name, of in types.items() if _is_section(of)}
            return left_out | {name: _from_text(one, types[name], f"{below}{name}") for name, one in value.items()}
    return value


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_").lower(), known, n=1)
    return f"unknown field {name!a}{f', did you mean {close[0]!r}?' if close else ''}"


def _is_section(kind: shape.Type) -> bool:
    return isinstance(kind, shape.UnionType) and any(isinstance(one, shape.StructType) for one in kind.types)


def _from_hex(value: object, size: int, place: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{2 * size}}}", value):
        raise _Misplaced(f"expected {2 * size} hex digits", place)
    return bytes.fromhex(value)


def _from_line(value: object, place: str) -> bytes:
    try:
        return parse_key_line(value if isinstance(value, str) else "")
    except Misuse as error:
        raise _Misplaced(error.reason, place) from None


def _misuse(text: str, what: str, place: str) -> Misuse:
    where = place or "the top level"
    line = _line_of(text, place)
    return Misuse(Number.MALFORMED, f"trust policy: {what} - at {where}{f', line {line}' if line else ''}")


def _line_of(text: str, place: str) -> int:
    """Line, from 1, of the key or table that `place` names, or of the nearest around it; 0 if there is none.

    For error messages only: TOML's parser tells no places, so this looks for the words as people write them.
    """
    path = place.split(".")
    best, at_line = 0, 0
    table, seen = "", dict[str, int]()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if header := re.fullmatch(r"(\[\[?)\s*([\w.\-]+)\s*\]\]?(?:\s*#.*)?", line):
            table = header[2]
            if header[1] == "[[":
                seen[table] = seen.get(table, -1) + 1
                table = f"{table}[{seen[table]}]"
            key = table
        elif assignment := re.match(r"([\w\-]+)\s*=", line):
            key = f"{table}.{assignment[1]}" if table else assignment[1]
        else:
            continue
        depth = len(key.split("."))
        wanted = ".".join(path[:depth])
        if key in (wanted, wanted.partition("[")[0] if depth == len(path) else wanted) and depth > best:
            best, at_line = depth, number
    return at_line


# --- writing ------------------------------------------------------------------------------------------------------


def _fields(message: Message, place: str, names: Iterable[str]) -> Iterator[str]:
    """Lines of the fields; lists whose entries are too long for one line follow as arrays of tables."""
    tables: list[str] = []
    for name in names:
        value = getattr(message, name)
        if isinstance(value, list) and any(isinstance(one, Message) and len(_value(one)) > _WIDTH for one in value):
            for one in value:
                tables += ["", f"[[{place}.{name}]]", *_fields(one, "", one.__struct_fields__)]
            continue
        if name in _COMMENTS:
            yield f"# {_COMMENTS[name]}"
        yield f"{name} = {_value([key_line(one) for one in value] if name == _SSH_KEYS else value)}"
    yield from tables


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _value(value: Any) -> str:
    match value:
        case None:
            return _value(_ANY)
        case bool():
            return "true" if value else "false"
        case bytes():
            return f'"{value.hex()}"'
        case str():
            # A TOML basic string: JSON's escapes are TOML's. What a terminal would act on, or hide, is escaped too.
            return "".join(_escaped(character) for character in json.dumps(value, ensure_ascii=False))
        case list():
            entries = [_value(one) for one in value]
            short = f"[{', '.join(entries)}]"
            return short if len(short) <= _SHORT else "[\n" + "".join(f"    {entry},\n" for entry in entries) + "]"
        case Message():
            return (
                "{ " + ", ".join(f"{name} = {_value(getattr(value, name))}" for name in value.__struct_fields__) + " }"
            )
    return str(value)
