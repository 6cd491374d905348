"""`python -m bench recovery [RECORDS] [--json FILE]`: from the last share to the first record, on another machine.

A Vault with named custodians, filled by the front door. Then it is killed, its database is copied to another machine,
and custodians submit their shares there and sign what is given up.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.figures import Figures, finish
from bench.processes import Server, cpu_of
from bench.scene import NAMESPACE, Scene, cluster_of
from bench.strongroom import Ours
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.enclave.runtime.clock import Clock
from tests.support.issuer import Issuer
from tests.support.machines import Machine, People, Serving, founded, ports, recovering

RECORDS: Final = 100_000
PROMISED_SECONDS: Final = 60.0


class _Vault:
    """What `Scene` asks of a server."""

    def __init__(self, serving: Serving) -> None:
        self.url = serving.url
        self._pid = serving.process.pid

    def cpu_seconds(self) -> list[float]:
        return [cpu_of(self._pid), 0.0]


async def measured(root: Path, records: int, figures: Figures) -> None:
    """Found, fill, lose, recover."""
    old, new = Machine(root / "old"), Machine(root / "new")
    # Of the same maker, so that the Authenticator that is left believes both; what the old one sealed is not looked at.
    shutil.copytree(old.platform, new.platform, dirs_exist_ok=True)
    people = People(root, 5, 3, old.roots)
    first, second = ports(2)
    platform = InsecureSoftware("vault", old.platform)
    serving = await founded(old, people, "vault", first)
    authenticator = Server("authenticator", root / "authenticator", old.platform, people.owner.public.hex())
    try:
        async with Issuer(Clock(platform)).serving() as issuer:
            it: Any = Scene(_Vault(serving), authenticator, issuer, platform, people.owner)  # type: ignore[arg-type]
            it.clusters = {"vault": people.clusters["vault"], "authenticator": await cluster_of(authenticator.url)}
            wire = await it.wire("vault", people.owner)
            await wire.ask(it.namespace(NAMESPACE))
            wire.close()
            ours = await Ours(it).open()
            filled = await ours.fill(records)
            print(f"{records:,} records after {filled['seconds']:,.0f} s", file=sys.stderr)
            serving.kill()
            shutil.copytree(old.data("vault"), new.data("vault"))
            serving = await recovering(new, "vault", second)
            await people.submit(serving, [0, 1])
            began, before = time.perf_counter(), cpu_of(serving.process.pid)
            # The last share, and then what is given up: until that is known, and signed by three people at once.
            await people.submit(serving, [2])
            await people.sign_gap(serving, [0, 1, 2])
            signed = time.perf_counter() - began
            await asyncio.to_thread(serving.says, role="vault", cluster_id=people.clusters["vault"].hex())
            served = time.perf_counter() - began
            it.vault = _Vault(serving)
            await ours.collected(await ours.wire())
            collected = time.perf_counter() - began
            used = cpu_of(serving.process.pid) - before
    finally:
        serving.end()
        authenticator.stop()
    print(f"signed what is given up: {signed:.2f} s; served after {served:.2f} s; first record after {collected:.2f} s")
    print(f"CPU seconds of the Vault meanwhile: {used:.2f}")
    figures.more |= {"records": records, "signed": signed, "served": served, "collected": collected, "cpu": used}
    figures.promise(
        f"a Vault of {records:,} records serves within {PROMISED_SECONDS:g} s of the last share",
        served,
        served < PROMISED_SECONDS,
    )


def main() -> int:
    records = int(sys.argv[2]) if sys.argv[2:3] and sys.argv[2].isdigit() else RECORDS
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measured(Path(folder), records, figures))
    return finish(figures)
