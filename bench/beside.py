"""`python -m bench beside [--json FILE]`: ours beside OpenBao, the same work on the same machine in the same minutes.

Alike: 32 clients on keep-alive connections, values of 1 KiB, each write durable before it is answered, as durable as
either ships. Unlike, to OpenBao's advantage: it answers without TLS, where ours encrypts within the session; it decides
by a token's policy that it holds in memory, where ours asks another enclave; it writes no line about who read, where
ours has one in the log before a secret leaves. With its audit device it writes one, into a file that it does not
wait for; that is shown for comparison and promises nothing. So are our `batches`: the same records, 32 in a message,
each record durable when the message is answered; KV v2 has no such request.
"""

from contextlib import ExitStack

from bench.figures import Figures, by_clock, finish, per_core
from bench.strongroom import MANY
from bench.turns import Contender

PUT: float = 3.0
GET: float = 1.5
OURS = {"strongroom, SQLite": (), "strongroom, PostgreSQL": ("store=postgresql",)}
THEIRS = {
    "openbao, raft": ("raft",),
    "openbao, PostgreSQL": ("postgresql",),
    "openbao, raft, audit device": ("raft", "audit"),
}
PAIRS = (("strongroom, SQLite", "openbao, raft"), ("strongroom, PostgreSQL", "openbao, PostgreSQL"))


def main() -> int:
    figures = Figures()
    with ExitStack() as stack:
        contenders = [Contender(name, "bench.strongroom", *options) for name, options in OURS.items()]
        contenders += [Contender(name, "bench.peers.openbao", *options) for name, options in THEIRS.items()]
        for contender in contenders:
            stack.callback(contender.close)
        figures.rounds(contenders, ("store", "collect"))
        figures.rounds(contenders[: len(OURS)], ("batches",))
        figures.more["memory"] = {contender.name: contender.turn("memory") for contender in contenders}
    figures.table()
    for ours, theirs in PAIRS:
        stored = figures.ratio(ours, theirs, "store", by_clock)
        figures.promise(f"durable store at least {PUT:g} × put: {ours} to {theirs}", stored, stored.median >= PUT)
        cheaper = figures.ratio(ours, theirs, "store", per_core)
        print(f"  the same for each CPU second: {cheaper}")
        print(f"  records in batches of {MANY}, to put: {figures.ratio(ours, theirs, ('batches', 'store'), by_clock)}")
        read = figures.ratio(ours, theirs, "collect", per_core)
        figures.promise(f"collect per core at least {GET:g} × get: {ours} to {theirs}", read, read.median >= GET)
        faster = figures.ratio(ours, theirs, "collect", by_clock)
        print(f"  the same by the clock: {faster}")
    return finish(figures)
