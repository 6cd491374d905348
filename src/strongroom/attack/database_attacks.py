"""What the owner of a database can put back, take away or alter while nobody looks: rows, leaves, all of it."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from strongroom.attack.database import BUCKETS, Copy, Row
from strongroom.attack.network import flipped
from strongroom.attack.outcomes import Seen, SetUpFailed, judged, not_started, noticed, outcome, unnoticed
from strongroom.attack.people import DEPOSITOR, OUTSIDER, RECIPIENT, TOUCHER
from strongroom.attack.play import Memory, Play
from strongroom.attack.processes import DidNotStart
from strongroom.attack.promises import When, Who
from strongroom.attack.registry import Reach, attack
from strongroom.protocol.errors import StrongroomError, Unavailable
from strongroom.protocol.index import HEAD_KEY, LISTING

Look = Coroutine[Any, Any, object]
"""A request that rests on what was attacked."""

# --- the whole database ---------------------------------------------------------------------------------------------


@attack("old-database", "the whole database of an earlier time is put back", Reach.DATABASE)
async def old_database(play: Play) -> Seen:
    """Who could collect then, and may not any more, has been here since."""
    await play.database.restore(play.history.before)
    return await _start_and_collect(play, "updated", Memory.WAS_THERE)


@attack("old-database-newcomer", "the same, shown to a client that was never there", Reach.DATABASE)
async def old_database_newcomer(play: Play) -> Seen:
    await play.database.restore(play.history.before)
    return await _start_and_collect(play, "updated", Memory.NEWCOMER)


@attack(
    "old-database-and-back",
    "the database is put back for one accomplice, then forward again; others come after that",
    Reach.DATABASE,
)
async def old_database_and_back(play: Play) -> Seen:
    await play.database.restore(play.history.before)
    try:
        await play.start()
    except DidNotStart as error:
        return not_started(error)
    async with play.client(reader(play), Memory.NEWCOMER) as accomplice:
        found = await outcome(accomplice.collect(play.history.address("updated")), When.NEXT_CONTACT, "")
    await play.stop()
    if found.who is not Who.NOBODY:
        return found
    await play.database.restore(play.history.now)
    await play.start()
    async with play.client(DEPOSITOR) as alice:
        return await outcome(
            alice.collect(play.history.address("updated")),
            When.NEXT_CONTACT,
            "the accomplice has the secret, and nobody else sees a trace",
        )


@attack(
    "old-database-mid-session",
    "the Vault is killed and started from an earlier copy while a client's session goes on",
    Reach.DATABASE,
)
async def old_database_mid_session(play: Play) -> Seen:
    await play.start()
    async with play.client(DEPOSITOR) as alice:
        await alice.collect(play.history.address("updated"))
        await play.stop()
        await play.database.restore(play.history.before)
        try:
            await play.start()
        except DidNotStart as error:
            return not_started(error)
        return await outcome(
            alice.collect(play.history.address("updated")), When.NEXT_CONTACT, "the session went on in the past"
        )


async def _start_and_collect(play: Play, name: str, memory: Memory) -> Seen:
    try:
        await play.start()
    except DidNotStart as error:
        return not_started(error)
    async with play.client(reader(play), memory) as bob:
        return await outcome(
            bob.collect(play.history.address(name)), When.NEXT_CONTACT, "whose right was revoked got the old secret"
        )


# --- single rows ----------------------------------------------------------------------------------------------------


def reader(play: Play) -> str:
    """Who could collect what was updated and deleted since."""
    return RECIPIENT if play.cast.has(RECIPIENT) else DEPOSITOR


async def _with_rows(play: Play, rows: Mapping[bytes, Row | None], look: Look, served: str) -> Seen:
    """Put in `rows`, start, and `look` at what rests on them."""
    return await _with_copy(play, play.history.now.with_rows(rows), look, served)


async def _with_copy(play: Play, copy: Copy, look: Look, served: str) -> Seen:
    try:
        await play.database.restore(copy)
        await play.start()
        return await outcome(look, When.NEXT_READ, served)
    except DidNotStart as error:
        return not_started(error)
    finally:
        look.close()  # it may never have begun


async def _collect(play: Play, who: str, name: str) -> None:
    async with play.client(who) as client:
        await client.collect(play.history.address(name))


async def _collect_touching(play: Play) -> None:
    if play.cast.security_key is not None:
        play.cast.security_key.counter += 10
    await _collect(play, TOUCHER, "touched")


async def _store(play: Play) -> None:
    async with play.client(DEPOSITOR) as alice:
        instructions = play.cast.instructions(play.cast.person(DEPOSITOR).may("collect", "update", "delete"))
        await alice.store(b"one more", namespace=play.cast.namespace, instructions=instructions)


@attack("old-record", "one record as it was before an update that revoked a right", Reach.DATABASE)
async def old_record(play: Play) -> Seen:
    rows = {play.history.handles["updated"]: play.history.before.rows[play.history.handles["updated"]]}
    return await _with_rows(play, rows, _collect(play, reader(play), "updated"), "a revoked right came back")


@attack("undelete", "one record as it was before it was deleted", Reach.DATABASE)
async def undelete(play: Play) -> Seen:
    handle = play.history.handles["deleted"]
    rows = {handle: play.history.before.rows[handle]}
    return await _with_rows(play, rows, _collect(play, reader(play), "deleted"), "a deleted secret came back")


@attack("old-attempts", "the count of refused attempts as it was before the last one", Reach.DATABASE)
async def old_attempts(play: Play) -> Seen:
    who = OUTSIDER if play.cast.has(OUTSIDER) else DEPOSITOR
    look = _collect(play, who, "tried")
    return await _with_rows(play, play.history.rows("attempts"), look, "an attempt was forgotten")


@attack("old-standing", "what stands open at a record as it was before an approval was used", Reach.DATABASE)
async def old_standing(play: Play) -> Seen:
    look = _collect(play, reader(play), "asked")
    return await _with_rows(play, play.history.rows("standing"), look, "one approval counted twice")


@attack("old-journal", "the count of openings as it was before the last one", Reach.DATABASE)
async def old_journal(play: Play) -> Seen:
    look = _collect(play, reader(play), "counted")
    return await _with_rows(play, play.history.rows("journal"), look, "an opening was forgotten")


@attack("old-marks", "what must not come twice as it was before a security key was used again", Reach.DATABASE)
async def old_marks(play: Play) -> Seen:
    rows = play.history.rows("marks")
    return await _with_rows(play, rows, _collect_touching(play), "a copied key would not be noticed")


@attack("old-usage", "how much somebody has stored as it was before the last record", Reach.DATABASE)
async def old_usage(play: Play) -> Seen:
    return await _with_rows(play, play.history.rows("usage"), _store(play), "a quota was set back")


@attack("altered-row", "one bit of a record is turned", Reach.DATABASE)
async def altered_row(play: Play) -> Seen:
    handle = play.history.handles["kept"]
    row = play.history.now.rows[handle]
    rows = {handle: row._replace(sealed=flipped(row.sealed))}
    return await _with_rows(play, rows, _collect(play, reader(play), "kept"), "an altered record was opened")


@attack("absent-row", "one record is taken out, as if it had never been", Reach.DATABASE)
async def absent_row(play: Play) -> Seen:
    rows = {play.history.handles["kept"]: None}
    return await _with_rows(play, rows, _collect(play, reader(play), "kept"), "a record was said not to be there")


@attack("absent-row-running", "the same, while the Vault serves", Reach.DATABASE)
async def absent_row_running(play: Play) -> Seen:
    await play.start()
    await play.database.put(play.history.handles["kept"], None)
    return await outcome(_collect(play, reader(play), "kept"), When.NEXT_READ, "a record was said not to be there")


@attack("old-record-running", "one record as it was before its update, while the Vault serves", Reach.DATABASE)
async def old_record_running(play: Play) -> Seen:
    await play.start()
    handle = play.history.handles["updated"]
    await play.database.put(handle, play.history.before.rows[handle])
    look = _collect(play, reader(play), "updated")
    return await outcome(look, When.NEXT_READ, "a revoked right came back")


# --- the index and the head -----------------------------------------------------------------------------------------


def _changed_bucket(play: Play) -> bytes:
    """Row key of a bucket of the index that has changed, and was there before."""
    before, now = play.history.before.rows, play.history.now.rows
    for key in sorted(BUCKETS.keys() & before.keys() & now.keys()):
        if before[key] != now[key]:
            return key
    raise SetUpFailed("no bucket of the index has changed")


@attack("old-bucket", "one bucket of the index as it was earlier", Reach.DATABASE)
async def old_bucket(play: Play) -> Seen:
    key = _changed_bucket(play)
    rows = {key: play.history.before.rows[key]}
    return await _with_rows(play, rows, _collect(play, reader(play), "kept"), "the index was set back in part")


@attack("forged-bucket", "an old record, and the index rewritten so that it lists that one", Reach.DATABASE)
async def forged_bucket(play: Play) -> Seen:
    """Buckets are not sealed: a host can write what it likes into them."""
    handle = play.history.handles["updated"]
    old, now = play.history.before, play.history.now
    rows: dict[bytes, Row | None] = {handle: old.rows[handle]}
    for key in BUCKETS.keys() & now.rows.keys():
        listing = _listing(old, handle)
        at = now.rows[key].sealed.find(handle)
        if at >= 0:
            content = now.rows[key].sealed
            rows[key] = now.rows[key]._replace(sealed=content[:at] + listing + content[at + len(listing) :])
    return await _with_rows(play, rows, _collect(play, reader(play), "updated"), "a forged index was believed")


def _listing(copy: Copy, handle: bytes) -> bytes:
    """What the index lists of a row: `spec/log.md`."""
    for key in BUCKETS.keys() & copy.rows.keys():
        content = copy.rows[key].sealed
        at = content.find(handle)
        if at >= 0:
            return content[at : at + LISTING]
    raise SetUpFailed("a record is not in the index")


@attack("absent-bucket", "one bucket of the index is taken out", Reach.DATABASE)
async def absent_bucket(play: Play) -> Seen:
    rows = {_changed_bucket(play): None}
    return await _with_rows(
        play, rows, _collect(play, reader(play), "kept"), "a part of the index was missed by nobody"
    )


@attack("old-head", "the head row, which says where log and index stand, as it was earlier", Reach.DATABASE)
async def old_head(play: Play) -> Seen:
    rows = {HEAD_KEY: play.history.before.rows[HEAD_KEY]}
    return await _with_rows(play, rows, _collect(play, reader(play), "kept"), "an old head was believed")


@attack("old-head-running", "the same, while the Vault serves", Reach.DATABASE)
async def old_head_running(play: Play) -> Seen:
    await play.start()
    async with play.client(DEPOSITOR) as alice:
        await alice.collect(play.history.address("updated"))
    await play.database.put(HEAD_KEY, play.history.before.rows[HEAD_KEY])
    served = "a change was made over a head that the Vault did not write"
    try:
        await _store(play)
    except Unavailable:
        # Whether it was made it does not know, says the Vault: whoever asks again has it find out.
        return await outcome(_store(play), When.NEXT_WRITE, served)
    except StrongroomError as error:
        return judged(error, When.NEXT_WRITE)
    return unnoticed(served)


# --- the log --------------------------------------------------------------------------------------------------------


@attack("drop-leaf", "one entry of the log is taken out", Reach.DATABASE)
async def drop_leaf(play: Play) -> Seen:
    await play.database.restore(play.history.now.with_leaves({play.history.leaves["record"]: None}))
    return await _audited(play, "an entry that is gone was missed by nobody")


@attack("altered-leaf", "one entry of the log is written anew", Reach.DATABASE)
async def altered_leaf(play: Play) -> Seen:
    at = play.history.leaves["record"]
    await play.database.restore(play.history.now.with_leaves({at: flipped(play.history.now.leaves[at] or b"\0")}))
    return await _audited(play, "an entry that was altered was believed")


@attack("drop-leaf-audit", "the same, and somebody audits the whole log", Reach.DATABASE)
async def drop_leaf_audit(play: Play) -> Seen:
    await play.database.restore(play.history.now.with_leaves({play.history.leaves["record"]: None}))
    await play.start()
    return await play.audit()


@attack("altered-leaf-audit", "an entry is written anew, and somebody audits the whole log", Reach.DATABASE)
async def altered_leaf_audit(play: Play) -> Seen:
    at = play.history.leaves["record"]
    await play.database.restore(play.history.now.with_leaves({at: flipped(play.history.now.leaves[at] or b"\0")}))
    await play.start()
    return await play.audit()


@attack("truncate-log", "the log is cut off behind an earlier entry", Reach.DATABASE)
async def truncate_log(play: Play) -> Seen:
    now = play.history.now
    cut = now.with_log(now.leaves[: play.history.leaves["record"]])
    return await _with_copy(play, cut, _store(play), "the log goes on from where it was cut off")


async def _audited(play: Play, served: str) -> Seen:
    """Whoever may audit the record reads its history."""
    try:
        await play.start()
    except DidNotStart as error:
        return not_started(error)
    async with play.client(DEPOSITOR) as alice:
        seen = await outcome(alice.trail(play.history.address("updated")), When.NEXT_AUDIT, served)
    return noticed(Who.AUDITOR, When.NEXT_AUDIT, seen.said) if seen.who is not Who.NOBODY else seen


# --- commits --------------------------------------------------------------------------------------------------------


@attack("lost-commit", "a change is acknowledged, and the database put back to just before it", Reach.DATABASE)
async def lost_commit(play: Play) -> Seen:
    await play.start()
    where = play.history.address("kept")
    async with play.client(DEPOSITOR) as alice:
        before = await play.database.copy()
        await alice.update(where, secret=b"acknowledged")
    await play.stop()
    await play.database.restore(before)
    try:
        await play.start()
    except DidNotStart as error:
        return not_started(error)
    async with play.client(reader(play)) as bob:
        return await outcome(bob.collect(where), When.NEXT_CONTACT, "an acknowledged change is gone")


@attack("reorder-commits", "two changes stand in the database as if they had come the other way round", Reach.DATABASE)
async def reorder_commits(play: Play) -> Seen:
    first, between, last = await _two_commits(play)
    earlier = {key: row for key, row in between.rows.items() if first.rows.get(key) != row}
    one, two = between.leaves[len(first.leaves) :], last.leaves[len(between.leaves) :]
    turned = last.with_rows(earlier).with_log((*first.leaves, *two, *one))
    return await _with_copy(play, turned, _collect(play, reader(play), "kept"), "the order of changes was changed")


@attack("replay-commit", "an earlier change is made once more, over a later one", Reach.DATABASE)
async def replay_commit(play: Play) -> Seen:
    first, between, last = await _two_commits(play)
    again = {key: row for key, row in between.rows.items() if first.rows.get(key) != row}
    leaves = (*last.leaves, *between.leaves[len(first.leaves) :])
    repeated = last.with_rows(again).with_log(leaves)
    return await _with_copy(play, repeated, _collect(play, reader(play), "kept"), "an earlier change undid a later one")


async def _two_commits(play: Play) -> tuple[Copy, Copy, Copy]:
    """The database before, between and after two changes; the Vault is stopped then."""
    where = play.history.address("kept")
    await play.start()
    async with play.client(DEPOSITOR) as alice:
        await alice.describe(where)
        first = await play.database.copy()
        await alice.update(where, secret=b"the one")
        between = await play.database.copy()
        await alice.update(where, secret=b"the other")
        last = await play.database.copy()
    await play.stop()
    return first, between, last
