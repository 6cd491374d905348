"""Two of three witnesses are gone for good: custodians name others, as docs/howto/witnesses.md says. Real processes."""

import asyncio
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest

from strongroom.protocol.errors import Untrusted
from tests.support.command import environment, strongroom
from tests.support.drill import Site
from tests.support.machines import SECONDS, Machine, People, Serving, founded, ports, recovering
from tests.support.witnesses import Running


class Witnesses:
    """Some, each with a directory and a port of its own, and files that name three of them."""

    def __init__(self, root, ending, count):
        self._root, self._ending = root, ending
        self._ports = ports(count)
        self._running = {}
        self.keys = []

    async def make(self):
        await asyncio.gather(*(self.start(at, "--name", f"w{at}.example.com") for at in range(len(self._ports))))
        self.keys = [self._running[at].vkey for at in range(len(self._ports))]

    async def start(self, at, *options):
        if at in self._running:
            self._running[at].kill()
        command = ["serve", "witness", "--data", f"w{at}", "--listen", f"127.0.0.1:{self._ports[at]}", *options]
        process = self._ending.enter_context(begun([*command, "--json", "--until-eof"], self._root))
        self._ending.callback(process.kill)
        self._running[at] = await asyncio.to_thread(Running, process)

    async def told(self, who, *logs):
        await asyncio.gather(*(self.start(at, *(part for log in logs for part in ("--log", log))) for at in who))

    def gone(self, *who):
        for at in who:
            self._running[at].kill()

    def file(self, *who):
        lines = [f"witness W{at} {self.keys[at]} http://127.0.0.1:{self._ports[at]}" for at in who]
        path = self._root / f"{''.join(map(str, who))}.policy"
        path.write_text("\n".join([*lines, f"group w 2 {' '.join(f'W{at}' for at in who)}", "quorum w", ""]))
        return ("--witnesses", str(path))


def begun(arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "strongroom.cli", *arguments],
        cwd=folder, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


async def newest_log_key(serving, known=""):
    """What the Vault tells the witnesses' operators, once that is another one."""
    async with asyncio.timeout(SECONDS):
        while True:
            said = re.findall(r"the log's verifier key is (\S+)", serving.log.read_text())
            if said and said[-1] != known:
                return said[-1]
            await asyncio.sleep(0.05)


async def test_custodians_name_others_and_everything_serves_again(tmp_path):
    machine, home = Machine(tmp_path / "machine"), tmp_path / "home"
    home.mkdir()
    people = People(home, count=2, threshold=2, roots=machine.roots)
    vault, authenticator = ports(2)
    site = Site(tmp_path, people, {"vault": vault, "authenticator": authenticator}, machine, machine)
    with ExitStack() as ending:
        witnesses = Witnesses(tmp_path, ending, 5)
        other, _ = await asyncio.gather(founded(machine, people, "authenticator", authenticator), witnesses.make())
        ending.callback(other.end)
        people.witnesses = witnesses.keys[:3]
        first, second = witnesses.file(0, 1, 2), witnesses.file(0, 3, 4)
        owner = ("--owner-key", str(home / "owner.key"))
        serving = Serving(machine, "vault", vault, "--found", *owner, *first)
        ending.callback(serving.end)
        await asyncio.to_thread(serving.says, state="founding")
        await people.found(serving)
        old = await newest_log_key(serving)
        await witnesses.told((0, 1, 2), old)
        await asyncio.to_thread(serving.says, role="vault", witnesses="2 of 3", log_key=old)
        await site.namespace()
        notices: list[str] = []
        async with site.returning(notices) as client:
            await site.store(client, 3)

        # Gone: nothing but custodians gets it going again, and other witnesses are refused where it opens by itself.
        witnesses.gone(1, 2)
        serving.end()
        refused = await asyncio.to_thread(
            strongroom, "serve", "vault", "--data", str(machine.data("vault")), "--platform", str(machine.platform),
            "--listen", "127.0.0.1:0", *second, cwd=tmp_path,
        )  # fmt: skip
        assert refused.status == 2
        assert "only custodians can name others" in " ".join(refused.err.split())
        serving = await recovering(machine, "vault", vault, *second)
        ending.callback(serving.end)
        await people.submit(serving, [0, 1])
        asked = await people.asked_to_sign(serving)
        assert asked.gap is not None
        assert asked.new_watchers is not None
        assert asked.new_watchers.witnesses == [witnesses.keys[at] for at in (0, 3, 4)]
        assert asked.gap.known_size == asked.gap.found_size, "the one who is left knows it to its end"
        await people.sign_gap(serving, [0, 1])
        new = await newest_log_key(serving, old)
        await witnesses.told((0,), old, new)
        await witnesses.told((3, 4), new)
        await asyncio.to_thread(serving.says, role="vault", witnesses="2 of 3", log_key=new)

        # Who has pinned the old ones is told why he is refused; who pins anew goes on, and is told once.
        async with site.returning(notices) as client:
            with pytest.raises(Untrusted, match="its custodians have named other witnesses"):
                await client.verify()
        assert notices == []
        people.witnesses = asked.new_watchers.witnesses
        for _ in range(2):
            async with site.returning(notices) as client:
                await site.collect_all(client)
        assert len(notices) == 1
        urls = ("--vault", serving.url, "--authenticator", other.url)
        pinned = await asyncio.to_thread(
            strongroom, "trust", "pin", *urls, "--insecure", "--yes", "--output", "new.toml", cwd=tmp_path
        )
        assert pinned.status == 0, pinned.err
        text = (tmp_path / "new.toml").read_text()
        assert [key in text for key in witnesses.keys] == [True, False, False, True, True]
        audited = await asyncio.to_thread(
            strongroom, "audit", "--url", serving.url, "--trust", "new.toml", cwd=tmp_path
        )
        assert audited.status == 0, audited.err

        # And by itself, with the file of the new ones.
        serving.end()
        serving = Serving(machine, "vault", vault, *second)
        ending.callback(serving.end)
        await asyncio.to_thread(serving.says, role="vault", witnesses="2 of 3", log_key=new)
        async with site.returning(notices) as client:
            await site.collect_all(client)
