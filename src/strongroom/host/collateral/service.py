"""Collateral for the quotes of this host's enclaves: fetched once, kept until it expires, renewed before that.

Every item is kept exactly as long as its maker says. Renewal begins long before (`_due`), beside the answer and
not before it: a new evaluation or revocation reaches people within about a day, and a source that is down is noticed
by nobody until what is here expires. Then there is nothing to hand out: verifiers would refuse it.

An item whose evaluation number is below that of one already here is never handed out. Makers only raise that number;
a lower one comes from a cache that lags, and would show people as good what is known to be broken.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.host.collateral import amd, intel
from strongroom.host.collateral.cache import Cache, Kept
from strongroom.host.collateral.items import Answer, Item, Unusable, Wanted
from strongroom.host.collateral.sources import Sources
from strongroom.host.collateral.table import Table, read_table
from strongroom.protocol.errors import Number, StrongroomError, Unavailable

RENEW_SECONDS: Final = 86400.0
"""What its maker may replace any time is asked for again after a day, however long it would be good."""
MAX_COLLATERAL: Final = 64 * 1024
"""Bytes that fit into one piece of evidence (`spec/evidence.md`)."""
_MAX_IN_MEMORY: Final = 64
"""Items; a machine needs four, or three."""

_log = logging.getLogger("strongroom.host.collateral")


class _Held(NamedTuple):
    item: Item
    due: float
    """Unix seconds from which it is renewed."""


class CollateralService:
    """Asks `sources` (base addresses, in this order; none: the makers' own); `cache` is a directory of its own.

    `now` gives unix seconds. Must be closed. Raises `BadSource` for an address that may not be used.
    """

    def __init__(self, sources: Sequence[str], cache: Path, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        named = Sources(sources, now) if sources else None
        self._intel = named or Sources([intel.SERVICE], now)
        self._amd = named or Sources([amd.SERVICE], now)
        self._cache = Cache(cache)
        self._held: OrderedDict[Wanted, _Held] = OrderedDict()
        self._renewals: dict[Wanted, asyncio.Task[Item]] = {}

    async def fetch(self, kind: str, quote: bytes, endorsements: bytes = b"") -> bytes:
        """What goes into `Evidence.collateral` beside a quote of that platform kind.

        sgx, tdx: JSON with the fields of dcap-qvl's `QuoteCollateralV3`. snp: PEM of leaf, intermediate, root and
        revocation list; `endorsements` is the table of certificates that the hypervisor handed over with the report,
        needed where a VLEK signed it. Raises `Unavailable` COLLATERAL_UNAVAILABLE.
        """
        if kind in intel.TEES:
            wanted = intel.wanted(intel.TEES[kind], quote)
            collateral = intel.collateral(await self._items(self._intel, *wanted))
        elif kind == "snp":
            collateral = await self._snp(amd.read_report(quote), read_table(endorsements))
        else:
            raise _unavailable("quotes of this platform come complete: there is no collateral for them")
        if len(collateral) > MAX_COLLATERAL:
            raise _unavailable(f"it is longer than the {MAX_COLLATERAL} bytes that fit into evidence")
        return collateral

    async def close(self) -> None:
        """End renewals and connections; who still waits for one is cancelled."""
        renewals = list(self._renewals.values())
        for renewal in renewals:
            renewal.cancel()
        await asyncio.gather(*renewals, return_exceptions=True)
        for sources in {self._intel, self._amd}:
            await sources.close()

    async def _snp(self, report: amd.Report, table: Table) -> bytes:
        """From AMD, whose answers are current; what the hypervisor handed over stands in where AMD can't be asked.

        AMD serves no VLEK's certificate: that one comes from the cloud provider only.
        """
        product, leaf = await self._leaf(report, table)
        wanted = (amd.Chain(report.key, product), amd.Revocations(report.key, product))
        try:
            chain, crl = await self._items(self._amd, *wanted)
        except Unavailable:
            if not table.chain:
                raise
            return amd.collateral(leaf, table.chain, table.crl)
        return amd.collateral(leaf, chain.parts["pem"], crl.parts["pem"])

    async def _leaf(self, report: amd.Report, table: Table) -> tuple[amd.Product, str]:
        """Product and PEM of the attestation key's certificate."""
        if report.key == "vcek":
            try:
                product, item = await self._chip(report)
                return product, item.parts["pem"]
            except Unavailable:
                if not table.vcek:
                    raise
        elif not table.vlek:
            raise _unavailable(
                "the report is signed with a cloud provider's key (VLEK), whose certificate the provider hands over "
                "with the report; AMD does not serve it"
            )
        try:
            return amd.read_provided_leaf(table.vcek if report.key == "vcek" else table.vlek, report.key)
        except Unusable as error:
            raise _unavailable(f"the provider's certificate: {error}") from None

    async def _chip(self, report: amd.Report) -> tuple[amd.Product, Item]:
        """The chip's certificate. A report of version 2 does not say its product: the service knows one of them."""
        leaves = [amd.leaf(report, product) for product in report.products]
        known = [leaf for leaf in leaves if self._good(leaf)]
        failure = _unavailable("the report names no product")
        for leaf in known or leaves:
            try:
                (item,) = await self._items(self._amd, leaf)
                return leaf.product, item
            except Unavailable as error:
                failure = error
        raise failure

    async def _items(self, sources: Sources, *wanted: Wanted) -> list[Item]:
        return list(await asyncio.gather(*(self._item(sources, one) for one in wanted)))

    async def _item(self, sources: Sources, wanted: Wanted) -> Item:
        held = self._good(wanted)
        if held is None:
            return await asyncio.shield(self._renew(sources, wanted))  # one that stops waiting stops no other
        if self._now() >= held.due:
            self._renew(sources, wanted)
        return held.item

    def _renew(self, sources: Sources, wanted: Wanted) -> asyncio.Task[Item]:
        """The one renewal of this item that is under way."""
        renewal = self._renewals.get(wanted)
        if renewal is None:
            renewal = self._renewals[wanted] = asyncio.create_task(self._fetch(sources, wanted))
            renewal.add_done_callback(lambda done: self._renewed(wanted, done))
        return renewal

    def _renewed(self, wanted: Wanted, renewal: asyncio.Task[Item]) -> None:
        del self._renewals[wanted]
        if renewal.cancelled() or renewal.exception() is None:
            return
        held = self._good(wanted)
        if held is not None:
            _log.warning("collateral item=%s not renewed, good for %d s", wanted.name, held.item.expires - self._now())

    async def _fetch(self, sources: Sources, wanted: Wanted) -> Item:
        def accept(answer: Answer) -> Item:
            return self._accepted(wanted, wanted.read(answer))

        answer, item = await sources.get(wanted, accept)
        kept = Kept(1, wanted.name, int(self._now()), answer.chain, answer.body)
        self._hold(wanted, item, kept.fetched_at)
        await asyncio.to_thread(self._cache.store, kept)
        return item

    def _accepted(self, wanted: Wanted, item: Item) -> Item:
        """Raises `Unusable`: then the next source is asked."""
        if item.expires <= self._now():
            raise Unusable("it has expired")
        held = self._look_up(wanted)
        if held is not None and item.number < held.item.number:
            raise Unusable(f"evaluation number {item.number} is below {held.item.number}, which is here already")
        good = held is not None and self._now() < held.item.expires
        if held is not None and good and item.issued < held.item.issued:
            raise Unusable("it is older than what is here already")
        return item

    # --- what is here -------------------------------------------------------------------------------------------

    def _good(self, wanted: Wanted) -> _Held | None:
        held = self._look_up(wanted)
        return held if held is not None and self._now() < held.item.expires else None

    def _look_up(self, wanted: Wanted) -> _Held | None:
        """In memory or on disk; also what has expired, which still says how far evaluations had come."""
        held = self._held.get(wanted)
        if held is not None:
            self._held.move_to_end(wanted)
            return held
        kept = self._cache.load(wanted.name)
        if kept is None:
            return None
        try:
            item = wanted.read(Answer(kept.body, kept.chain))
        except Unusable as error:
            _log.warning("collateral item=%s cache file is not usable: %s", wanted.name, error)
            return None
        return self._hold(wanted, item, kept.fetched_at)

    def _hold(self, wanted: Wanted, item: Item, fetched_at: int) -> _Held:
        held = self._held[wanted] = _Held(item, _due(wanted, item, min(fetched_at, self._now())))
        self._held.move_to_end(wanted)
        if len(self._held) > _MAX_IN_MEMORY:
            self._held.popitem(last=False)
        return held


def _due(wanted: Wanted, item: Item, fetched_at: float) -> float:
    """After half of what was left of its life, or a day; earlier by chance, so that machines do not all ask at once."""
    half = max(item.expires - fetched_at, 0.0) / 2
    wait = min(half, RENEW_SECONDS) if wanted.changes else half
    return fetched_at + wait * random.uniform(0.8, 1.0)  # noqa: S311


def _unavailable(reason: str) -> StrongroomError:
    return Unavailable(Number.COLLATERAL_UNAVAILABLE, reason)
