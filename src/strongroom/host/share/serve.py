"""The share server from start to end: data directory, blobs, its Vault, the page, the sweeps."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.host.instance import CannotServe, cannot_listen, locked, raise_file_limit, stop_signals
from strongroom.host.share.abuse import Abuse
from strongroom.host.share.addresses import direct_address, forwarded_address
from strongroom.host.share.answers import Problem
from strongroom.host.share.blobs import Blobs, Quotas
from strongroom.host.share.http import Limits, Server
from strongroom.host.share.index import Index, WrongIndex
from strongroom.host.share.objects import CannotUse, Objects
from strongroom.host.share.page import LIST, BadPage, Page, named_authenticators, read_trust
from strongroom.host.share.proxy import Proxy, Unreachable
from strongroom.host.share.site import Site
from strongroom.host.share.tus import Tus
from strongroom.protocol.errors import StrongroomError
from strongroom.protocol.evidence import cluster_id, parse_evidence

PAGE: Final = Path(__file__).resolve().parents[2] / "page_dist"
"""Where the build puts the page."""
SWEEP_SECONDS: Final = 60.0
ORPHANS_SECONDS: Final = 3600.0
"""Between two listings of all that is kept; a bucket charges for them."""
VAULT_SECONDS: Final = 30.0
"""In which the Vault must answer at the start: it may be starting itself."""
DRAIN_SECONDS: Final = 5.0
_log: Final = logging.getLogger("strongroom.host.share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to serve, and to whom."""

    data: Path
    host: str
    port: int
    vault: str
    authenticators: tuple[str, ...]
    blobs: str | None = None
    """URL; None: a directory below `data`."""
    page: Path | None = None
    """None: the one that was built."""
    trust: Path | None = None
    quotas: Quotas = field(default_factory=Quotas)
    limits: Limits = field(default_factory=Limits)
    behind_proxy: bool = False


class Ready(NamedTuple):
    """What an operator is told."""

    url: str
    cluster_id: str
    page: Mapping[str, bytes]
    """SHA-256 of each file of the page, by its path."""
    statement: str | None
    """SHA-256 of the site statement, in hex."""
    blobs: str
    used: int
    """Bytes, reserved ones included."""
    abuse: Path


async def serve(settings: Settings, on_ready: Callable[[Ready], None]) -> None:
    """Serve until SIGINT or SIGTERM: then keep what has come of uploads, let answers finish for 5 s, and end.

    Raises `CannotServe`.
    """
    stop = stop_signals()
    raise_file_limit()
    trust = _trust(settings)
    page = _page(settings, trust)
    # Two servers on one index would not see each other's turns.
    with locked(settings.data, what="server", hint="stop the other one or name another directory"):
        url = settings.blobs or f"file://{(settings.data / 'blobs').resolve()}"
        objects = _objects(url)
        with _index(settings.data / "blobs.sqlite3" if objects.lasting else None) as index:
            address = forwarded_address if settings.behind_proxy else direct_address
            proxy = Proxy(settings.vault, settings.authenticators, address)
            try:
                vault = await _vault(proxy, settings.vault, stop)
                if vault is None:
                    return
                await _claim(index, objects, vault, url)
                blobs = Blobs(index, objects, settings.quotas, time.time)
                abuse = Abuse(settings.data, time.time, address)
                site = Site(Tus(blobs, vault.key, address), proxy, page, abuse)
                server = Server(site.handle, _limits(settings))
                used = index.total()
                statement = sha256(trust).hexdigest() if trust is not None else None
                try:
                    where = await server.listen(settings.host, settings.port)
                except OSError as error:
                    raise cannot_listen(settings.host, settings.port, error) from None
                try:
                    async with _sweeping(blobs):
                        on_ready(Ready(where, vault.cluster_id.hex(), page.digests, statement, url, used, abuse.path))
                        await stop.wait()
                finally:
                    await server.stop(DRAIN_SECONDS)
                    blobs.close()
            finally:
                await proxy.close()


class _Vault(NamedTuple):
    cluster_id: bytes
    key: bytes


async def _vault(proxy: Proxy, url: str, stop: asyncio.Event) -> _Vault | None:
    """Whose statements are obeyed; None if `stop` came first. Raises `CannotServe`.

    Nothing is appraised: the operator names the Vault, and a wrong key here lets nobody read anything. It is the
    clients who must know whom they trust.
    """
    deadline = time.monotonic() + VAULT_SECONDS
    while not stop.is_set():
        try:
            evidence, claims, genesis = parse_evidence(await proxy.evidence())
            if claims.cluster_id != cluster_id(evidence.genesis):
                raise CannotServe(f"the evidence at {url} is that of two clusters", "tell the Vault's operator")
            if claims.role != "vault":
                raise CannotServe(f"what answers at {url} is no Vault but an {claims.role}", "name the Vault's URL")
            return _Vault(claims.cluster_id, genesis.cluster_key)
        except StrongroomError as error:
            raise CannotServe(f"what answers at {url} is no Vault: {error.error}", "name the Vault's URL") from None
        except Unreachable as error:
            if time.monotonic() > deadline:
                raise CannotServe(f"the Vault at {url} does not answer: {error}", "start it first") from None
            await asyncio.sleep(0.25)
    return None


async def _claim(index: Index, objects: Objects, vault: _Vault, url: str) -> None:
    """One index, one place, one cluster: each knows the others. Raises `CannotServe`."""
    cluster, known = index.fact("cluster"), index.fact("instance")
    if cluster and cluster != vault.cluster_id.hex():
        raise CannotServe(
            f"this data directory belongs to the Vault of cluster {cluster[:16]}…, not to this one",
            "name that Vault, or another data directory",
        )
    instance = known or secrets.token_hex(16)
    try:
        await objects.claim(instance, known=known)
        await asyncio.to_thread(objects.clear_staged)
    except CannotUse as error:
        raise CannotServe(f"can't keep blobs at {url}: {error}", "name another place with --blobs") from None
    except OSError as error:
        raise CannotServe(f"can't keep blobs at {url}: {error.strerror}", "name another place with --blobs") from None
    index.learn("cluster", vault.cluster_id.hex())
    index.learn("instance", instance)


@asynccontextmanager
async def _sweeping(blobs: Blobs) -> AsyncIterator[None]:
    async def every(seconds: float, sweep: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await sweep()
            except Problem as problem:
                _log.error("a sweep failed and is tried again: %s", problem.text)
            await asyncio.sleep(seconds)

    tasks = [
        asyncio.create_task(every(SWEEP_SECONDS, blobs.sweep)),
        asyncio.create_task(every(ORPHANS_SECONDS, blobs.sweep_orphans)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _trust(settings: Settings) -> bytes | None:
    """The site statement. Raises `CannotServe`, also where people could not sign in at an Authenticator it names."""
    if settings.trust is None:
        return None
    try:
        trust = read_trust(settings.trust)
    except BadPage as error:
        raise CannotServe(str(error), "make the statement with `strongroom share site`") from None
    named, given = named_authenticators(trust), len(settings.authenticators)
    if given < named:
        raise CannotServe(
            f"the site statement {settings.trust} names more Authenticators ({named}) than are given ({given})",
            "give --authenticator for each, in the order of the statement",
        )
    return trust


def _page(settings: Settings, trust: bytes | None) -> Page:
    """Raises `CannotServe`."""
    folder = settings.page or PAGE
    if not (folder / LIST).is_file():
        hint = "name the folder of a built page" if settings.page else "`make page` builds it; or name one with --page"
        raise CannotServe(f"there is no page in {folder}", hint)
    try:
        return Page(folder, trust)
    except BadPage as error:
        raise CannotServe(str(error), "build the page anew") from None


def _objects(url: str) -> Objects:
    """Raises `CannotServe`."""
    try:
        return Objects(url)
    except CannotUse as error:
        raise CannotServe(f"can't keep blobs at {url}: {error}", "name another place with --blobs") from None


@contextmanager
def _index(path: Path | None) -> Iterator[Index]:
    try:
        index = Index(path)
    except WrongIndex as error:
        raise CannotServe(f"{path} can't be used: {error}", "name another data directory") from None
    except sqlite3.Error as error:
        raise CannotServe(f"{path} can't be opened: {error}", "the operator should look at the disk") from None
    try:
        yield index
    finally:
        index.close()


def _limits(settings: Settings) -> Limits:
    """Behind a proxy all connections come from one address."""
    limits = settings.limits
    return replace(limits, connections_per_address=limits.connections) if settings.behind_proxy else limits
