"""The page of operators: how this instance stands, in words, and what comes next.

Made here, as a whole, from what the enclave said: no script, no form, nothing from elsewhere, so that a label or a name
that somebody chose can be nothing but text in it. Its style is allowed by digest.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from strongroom.host.front.markup import Html, element, joined
from strongroom.host.front.words import given_up, state_words
from strongroom.protocol.status import EpochStatus, GapStatus, SeatStatus, Status

_STYLE: Final = """
:root{color-scheme:light dark;--paper:light-dark(#f6f5f1,#101312);--sheet:light-dark(#fff,#181c1a);
--ink:light-dark(#1a1f1c,#ecefeb);--soft:light-dark(#58605b,#a4ada8);--line:light-dark(#e2e0d8,#2a302d);
--accent:light-dark(#14614c,#82d2b1);--good:light-dark(#e6f0eb,#1a2a24);--caution:light-dark(#7d5200,#eabf6b);
--wait:light-dark(#fbf2dd,#2b2415);--danger:light-dark(#a22b1d,#ff9c8a);--bad:light-dark(#fbebe7,#2f1a16)}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.15rem;margin:0 0 1rem;font-weight:600}
h2{font-size:1.05rem;margin:0 0 .6rem}
section{background:var(--sheet);border:1px solid var(--line);border-radius:14px;padding:1rem 1.1rem;margin:0 0 1rem}
.state{border-left:6px solid var(--caution);background:var(--wait)}
.state.good{border-left-color:var(--accent);background:var(--good)}
.state.bad{border-left-color:var(--danger);background:var(--bad)}
.state strong{display:block;font-size:1.9rem;line-height:1.2}
.state p{margin:.4rem 0 0}
.warn{border-left:6px solid var(--danger);background:var(--bad)}
.warn p{margin:0}
dl{display:grid;grid-template-columns:minmax(7rem,12rem) 1fr;gap:.35rem 1rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-top:1px solid var(--line);
overflow-wrap:break-word}
th{color:var(--soft);font-weight:500;border-top:0}
section>:last-child{margin-bottom:0}
code{font-family:ui-monospace,"Cascadia Mono",Menlo,"Liberation Mono",monospace;font-size:.88em;
overflow-wrap:anywhere}
progress{width:100%;max-width:22rem;height:.8rem;accent-color:var(--accent)}
a{color:var(--accent)}
footer{color:var(--soft);font-size:.9rem}
footer p{margin:.4rem 0}
@media (max-width:34rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.6rem}
.state strong{font-size:1.6rem}
table,tbody,tr,td{display:block}thead{position:absolute;left:-999rem}td{border:0;padding:.1rem 0;overflow-wrap:anywhere}
tr{border-top:1px solid var(--line);padding:.5rem 0}
td::before{content:attr(data-name) " ";color:var(--soft)}}
"""
CONTENT_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_BACKUP: Final = "docs/howto/backup.md"
_YEAR_10000: Final = 253_402_300_800
_GOOD: Final = ("serving", "standing-by", "drilled")
_BAD: Final = ("no-answer", "gap")
_DONE: Final = {
    "recovering": "has submitted",
    "gap": "has signed",
    "drilling": "has submitted",
    "drilled": "has submitted",
}
"""By state: what those custodians did who have done what was waited for."""


def render(state: str, status: Status | None, host: Mapping[str, Any], *, at: int) -> bytes:
    """The whole page: how it stood `at` (unix seconds)."""
    words = state_words(state, status)
    role = "Strongroom" if status is None else f"Strongroom {status.role.capitalize()}"
    kind = "good" if state in _GOOD else "bad" if state in _BAD else "waiting"
    standing = [element("strong", words.title), element("p", words.meaning)]
    if words.then:
        standing.append(element("p", element("b", "Next: "), _prose(words.then)))
    parts = [
        element("h1", role),
        element("section", *standing, class_=f"state {kind}", aria_label="State"),
    ]
    if status is not None:
        parts += _enclave(status)
    parts += [_host(host, at), _foot(at)]
    head = joined(
        (
            element("title", f"{words.title} · {role}"),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f"<style>{_STYLE}</style>"),
        )
    )
    body = element("body", element("main", *parts))
    page = element("html", element("head", Html('<meta charset="utf-8">'), head), body, lang="en")
    return f"<!doctype html>\n{page}\n".encode()


def _enclave(status: Status) -> list[Html]:
    parts = []
    if status.development:
        warning = "A development cluster: whoever runs this machine can read everything."
        parts.append(element("section", element("p", element("b", warning)), class_="warn", aria_label="Warning"))
    parts += [_cluster(status), _council(status)]
    if status.gap is not None:
        parts.append(_gap(status.gap))
    if status.epochs is not None:
        parts.append(_epochs(status.epochs))
    if status.instances:
        parts.append(_instances(status))
    if status.release or status.releases:
        parts.append(_releases(status))
    if status.witnesses or status.log_size:
        parts.append(_log(status))
    return parts


def _cluster(status: Status) -> Html:
    recovered = "never" if not status.recoveries else _times(status.recoveries)
    return _section(
        "Cluster",
        _list(
            ("Role", status.role),
            ("Cluster id", element("code", status.cluster) if status.cluster else "none yet"),
            ("Program", status.build),
            ("Enclave started", _moment(status.started)),
            ("Recovered by custodians", recovered),
            ("Generation of the log", status.generation),
            ("Key ring handed over", f"{_times(status.handovers)} since this start"),
        ),
    )


def _council(status: Status) -> Html:
    parts = []
    if status.custodians:
        done = _DONE.get(status.state)
        number = "of the founding" if status.council == 0 else f"number {status.council}"
        parts.append(
            _list(
                ("Council", number),
                ("To recover or to govern", f"{status.threshold} of {len(status.custodians)} custodians"),
                ("To approve a release", f"{status.approvals} approvers" if status.approvals else "no approvers"),
            )
        )
        parts.append(_seats(status.custodians, done))
    if status.pending:
        parts.append(element("p", "A council that is being set up:"))
        parts.append(_seats(status.pending, "has accepted"))
        if status.endorsements:
            parts.append(element("p", f"Waited for, too: {status.endorsements} of those in office to endorse it."))
    return _section("Custodians", *(parts or [element("p", "None yet.")]))


def _seats(seats: Sequence[SeatStatus], done: str | None) -> Html:
    """`done`: what those have done of whom something is waited for; None: nothing is."""
    if done is None:
        return element("p", ", ".join(seat.name for seat in seats))
    return _table(("Custodian", ""), [(seat.name, done if seat.done else "waited for") for seat in seats])


def _gap(gap: GapStatus) -> Html:
    rows: list[tuple[str, Html | str | int]] = [
        ("Database ends at line", f"{gap.found_size:,}"),
        ("Witnesses know line", f"{gap.known_size:,}" if gap.known_size else "there are none"),
        ("Given up", f"{given_up(gap)}, and all that was done there"),
        ("Witnesses saw that", _moment(gap.known_at) if gap.known_at else "at a time that is not known"),
    ]
    if gap.statement:
        rows.append(("What custodians sign", element("code", gap.statement)))
    return _section("What would be given up", _list(*rows))


def _epochs(epochs: EpochStatus) -> Html:
    old = [number for number in epochs.kept if number != epochs.current]
    parts = [_list(("Current epoch", epochs.current), ("Kept", ", ".join(map(str, epochs.kept))))]
    if old:
        rows = max(epochs.rows, 1)
        share = min(100, epochs.resealed * 100 // rows)
        text = f"{epochs.resealed:,} of about {epochs.rows:,} rows looked at since the current epoch began ({share} %)"
        parts.append(element("p", text))
        bar = element(
            "progress", f"{share} %", value=str(min(epochs.resealed, rows)), max=str(rows), aria_label="Sealed anew"
        )
        parts.append(bar)
        parts.append(element("p", "Older epochs leave the key ring when every row is sealed anew."))
    return _section("Epochs", *parts)


def _instances(status: Status) -> Html:
    rows = [
        (
            joined((one.label or "(no label)", " (this one)" if one.own else "")),
            element("code", one.measurement),
            _moment(one.since),
        )
        for one in status.instances
    ]
    return _section("Machines that can open the key ring", _table(("Machine", "Program", "Since"), rows))


def _releases(status: Status) -> Html:
    rows = [
        (
            one.version,
            str(one.svn),
            one.kind,
            element("code", one.measurement),
            "may have the key ring" if one.admitted else "not yet, or not any more",
        )
        for one in status.releases
    ]
    table = _table(("Version", "Security version", "Platform", "Program", ""), rows)
    return _section("Releases", element("p", f"List number {status.release}."), table)


def _log(status: Status) -> Html:
    if status.witnesses:
        quorum = f"{status.cosignatures} of {status.witnesses} must cosign"
        seen = _moment(status.witnessed) if status.witnessed else "not yet"
    else:
        quorum, seen = "none: an older copy of the whole database is noticed by clients alone", "never"
    return _section(
        "Log and witnesses", _list(("Lines", f"{status.log_size:,}"), ("Witnesses", quorum), ("Seen", seen))
    )


def _host(host: Mapping[str, Any], at: int) -> Html:
    lease = host["lease"]
    if lease is None:
        writes = "this instance, which has it to itself"
    else:
        holder = "this instance" if lease["held"] else lease["holder"] or "another instance"
        writes = f"{holder}, until {_clock(lease['until'])} unless renewed" if lease["until"] else holder
    return _section(
        "This host",
        _list(
            ("Address", host["url"]),
            ("Version", host["version"]),
            ("Started", _moment(host["started"], at)),
            ("Database", f"{host['engine'] or 'unknown'}: {host['where'] or 'unknown'}"),
            ("Who writes it", writes),
            ("Last backup", _backup(host["backup"])),
            ("Last verified backup", _verified(host["verify"])),
            ("Restored from a backup", _restored(host["restore"])),
            ("Last drill", _drill(host["drill"])),
        ),
    )


def _backup(note: Mapping[str, Any] | None) -> Html | str:
    if note is None:
        return f"none yet: {_BACKUP}"
    mib = note["bytes"] / (1 << 20)
    return joined((_moment(note["at"]), f", {note['kind']}, {mib:,.1f} MiB, {note['rows']:,} rows: {note['path']}"))


def _verified(note: Mapping[str, Any] | None) -> Html | str:
    if note is None:
        return f"none yet: {_BACKUP}"
    verdict = ", holds" if note["holds"] else ", DOES NOT HOLD"
    return joined((_moment(note["at"]), verdict, f": {note['path']}"))


def _restored(note: Mapping[str, Any] | None) -> Html | str:
    return (
        "never" if note is None else joined((_moment(note["at"]), ", with what was in it of ", _moment(note["made"])))
    )


def _drill(note: Mapping[str, Any] | None) -> Html | str:
    if note is None:
        return f"none yet: {_BACKUP}"
    return joined((_moment(note["at"]), ", of what was backed up ", _moment(note["made"])))


def _foot(at: int) -> Html:
    return element(
        "footer",
        element("p", "As of ", _moment(at), ". ", element("a", "Look again", href="/status")),
        element(
            "p",
            "This is the host's word. Proven is only what an enclave says in an attested session: ",
            element("code", "strongroom status URL --policy trust.toml"),
            ".",
        ),
    )


def _prose(text: str) -> Html:
    """Words in which `these` are commands."""
    pieces = text.split("`")
    return joined(element("code", piece) if at % 2 else piece for at, piece in enumerate(pieces))


def _section(title: str, *parts: Html | str) -> Html:
    return element("section", element("h2", title), *parts)


def _list(*rows: tuple[str, Html | str | int]) -> Html:
    return element("dl", *(joined((element("dt", name), element("dd", value))) for name, value in rows))


def _table(names: Sequence[str], rows: Sequence[Sequence[Html | str]]) -> Html:
    # Roles, since a narrow screen shows cells as blocks, of which browsers say no more that they are a table's.
    head = [element("th", name or "State", scope="col", role="columnheader") for name in names]
    lines = []
    for row in rows:
        cells = zip(names, row, strict=True)
        shown = [element("td", cell, role="cell", data_name=name or "State") for name, cell in cells]
        lines.append(element("tr", *shown, role="row"))
    return element(
        "table",
        element("thead", element("tr", *head, role="row"), role="rowgroup"),
        element("tbody", *lines, role="rowgroup"),
        role="table",
    )


def _moment(at: int, now: int | None = None) -> Html | str:
    if not at:
        return "unknown"
    if not 0 < at < _YEAR_10000:
        return f"(unix time {at})"
    said = element("time", _clock(at), datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)))
    age = (int(time.time()) if now is None else now) - at
    return joined((said, f" ({_ago(age)})")) if age >= 0 else said


def _clock(at: int) -> str:
    if not 0 <= at < _YEAR_10000:
        return f"unix time {at}"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _ago(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return f"{seconds} s ago"


def _times(number: int) -> str:
    return "never" if not number else "once" if number == 1 else f"{number:,} times"
