"""The drill of a Vault on PostgreSQL that three witnesses watch, of whom one is away.

Machines and database are lost, and brought back from a backup that is older than what the witnesses have seen. All of
it is real processes; the witnesses are told of the new log as docs/howto/recovery.md says.
"""

import asyncio
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest

from strongroom.client.recovery import ask_witness
from strongroom.host.backup.restoring import restore_file
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import Role
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.notes import ED25519, parse_verifier
from tests.support.command import ROOT, environment
from tests.support.drill import Site
from tests.support.machines import SECONDS, Machine, People, Serving, founded, ports, recovering
from tests.support.witnesses import Running

PAGE = (ROOT / "docs" / "howto" / "recovery.md").read_text()
(AS_TOLD,) = re.findall(r"^\$ strongroom (serve witness .+)$", PAGE, re.MULTILINE)
"""That the witness names the old log and the new one."""
TWO_LOGS = " --log OLD --log NEW"


class Witnesses:
    """Three, each with a directory and a port of its own; only two of them are up before the cluster is recovered."""

    def __init__(self, root, ending):
        self._root, self._ending = root, ending
        self._ports = ports(3)
        self._running = {}

    async def make(self):
        """Keys, and the file that names them."""
        first = AS_TOLD.removesuffix(TWO_LOGS)
        await asyncio.gather(*(self._start(at, f"{first} --name w{at}.example.com") for at in range(3)))
        self.keys = [self._running[at].vkey for at in range(3)]
        lines = [f"witness W{at} {key} http://127.0.0.1:{self._ports[at]}" for at, key in enumerate(self.keys)]
        self.policy = self._root / "witnesses.policy"
        self.policy.write_text("\n".join([*lines, "group watchers 2 W0 W1 W2", "quorum watchers"]))

    def away(self, at):
        self._running[at].kill()

    async def are_told(self, old, new):
        """Two of them of the log, or all of both logs."""
        logs = f" --log {old}" if new is None else TWO_LOGS.replace("OLD", old).replace("NEW", new)
        up = range(2 if new is None else 3)
        await asyncio.gather(*(self._start(at, AS_TOLD.removesuffix(TWO_LOGS) + logs) for at in up))

    def url(self, at):
        return self._running[at].url

    async def _start(self, at, command):
        if at in self._running:
            self._running[at].kill()
        told = command.replace("witness-a", f"witness-{at}").replace(":8611", f":{self._ports[at]}").split()
        process = self._ending.enter_context(begun([*told, "--json", "--until-eof"], self._root))
        self._ending.callback(process.kill)
        self._running[at] = await asyncio.to_thread(Running, process)


def begun(arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "strongroom.cli", *arguments],
        cwd=folder, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


async def log_key(serving):
    """What the Vault tells the witnesses' operators."""
    async with asyncio.timeout(SECONDS):
        while not (said := re.search(r"the log's verifier key is (\S+)", serving.log.read_text())):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return said[1]


@pytest.mark.needs("postgres")
async def test_a_watched_vault_comes_back_on_postgresql_and_its_witnesses_go_on_with_it(postgres_server, tmp_path):
    first, second = (Machine(tmp_path / name) for name in ("first", "second"))
    home = tmp_path / "home"
    home.mkdir()
    people = People(home, count=2, threshold=2, roots=[*first.roots, *second.roots])
    vault, authenticator = ports(2)
    site = Site(tmp_path, people, {"vault": vault, "authenticator": authenticator}, first, second)
    with ExitStack() as ending:
        witnesses = Witnesses(tmp_path, ending)

        other, _ = await asyncio.gather(founded(first, people, "authenticator", authenticator), witnesses.make())
        ending.callback(other.end)
        people.witnesses = witnesses.keys
        witnesses.away(2)
        watched = ("--witnesses", str(witnesses.policy))

        # Founded, and two witnesses are told of its log.
        database = postgres_server.database()
        on_first = ("--database", postgres_server.local_url(database))
        owner = ("--owner-key", str(home / "owner.key"))
        serving = Serving(first, "vault", vault, "--found", *owner, *on_first, *watched)
        ending.callback(serving.end)
        await asyncio.to_thread(serving.says, state="founding")
        await people.found(serving)
        old = await log_key(serving)
        await witnesses.are_told(old, None)
        await asyncio.to_thread(serving.says, role="vault", witnesses="2 of 3", log_key=old)

        # Used, backed up, used; and lost.
        await site.namespace()
        async with site.returning([]) as client:
            await site.store(client, 20)
            orders: dict[Role, tuple[str, ...]] = {"vault": on_first, "authenticator": ()}
            made = await asyncio.gather(*(site.backed_up(role, f"{role}.backup", *orders[role]) for role in orders))
            found = made[0]["log_size"]
            site.now = site.given_up
            await site.store(client, 3)
        seen = site.seen()
        for lost in (serving, other):
            await asyncio.to_thread(lost.kill)
        first.destroy()
        postgres_server.sql(f"DROP DATABASE {database} WITH (FORCE)")

        # Brought back: custodians sign what two of three witnesses say is missing.
        on_second = ("--database", postgres_server.local_url(postgres_server.database()))
        second.data("authenticator").mkdir()
        await restore_file(site.backups["authenticator"], second.data("authenticator"))
        other = await recovering(second, "authenticator", authenticator)
        ending.callback(other.end)
        await people.recover(other, [1, 0])
        await asyncio.to_thread(site.restored, "vault", second, *on_second)
        serving = await recovering(second, "vault", vault, *on_second, *watched)
        ending.callback(serving.end)
        await people.submit(serving, [0, 1])
        asked = await people.asked_to_sign(serving)
        gap, shown = asked.gap, asked.status.gap
        assert gap is not None
        assert shown is not None
        assert gap.known_size >= seen > gap.found_size == found
        assert shown.known_at > 0, "two of three witnesses vouch for the moment"
        assert await ask_witness(witnesses.url(0), asked) == gap.known_size
        await people.sign_gap(serving, [0, 1])

        # It serves when witnesses are told of the new log, and not before.
        async with asyncio.timeout(SECONDS):
            while (new := await log_key(serving)) == old:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert parse_verifier(new, ED25519).name == log_origin(people.clusters["vault"], generation=1)
        with pytest.raises(Untrusted):
            async with site.client() as client:
                await client.verify()
        await witnesses.are_told(old, new)
        await asyncio.to_thread(serving.says, role="vault", witnesses="2 of 3", log_key=new)

        # Every client sees it: who comes for the first time, and who comes back.
        async with site.client() as client:
            claims = (await client.verify()).genuine.claims
            assert (claims.recoveries, claims.generation) == (1, 1)
            await site.collect_all(client)
            await site.miss_the_rest(client)
        notices: list[str] = []
        for _ in range(2):
            async with site.returning(notices) as client:
                await site.collect_all(client)
        assert len(notices) == 3
        assert f"{seen - found:,} lines that you have seen are gone" in notices[0]
        assert notices[1].startswith("this Vault was recovered by its custodians")
        assert notices[2].startswith("this Authenticator was recovered by its custodians")
        async with site.client() as client:
            await site.store(client, 1)
