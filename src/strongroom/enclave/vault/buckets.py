"""The authenticated index: which rows there are, at which version, byte for byte (`spec/log.md`).

Integrity alone lets a host show last month's row. So every row is listed in a bucket, the enclave keeps a tree over the
digests of all buckets, and one more row read proves presence, version and absence of a row.

Buckets are rows in clear, since the host knows all that stands in them. Their number grows by one split at a time in
ordinary commits (linear hashing), so that there is no moment at which all is rewritten. Keys are keyed hashes: nobody
outside can choose them to fill one bucket.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.index import (
    ABSENT,
    KEY,
    LISTING,
    Listing,
    bucket_digest,
    bucket_key,
    bucket_of,
    read_listing,
    row_digest,
    write_listing,
)
from strongroom.protocol.link import Put, Row
from strongroom.protocol.tlog import EMPTY_ROOT, node_hash

LOAD: Final = 16
"""Listings of a bucket, on average and at most."""
CACHED: Final = 65_536
"""Buckets whose content is kept in memory: all of a million rows, 90 MB. Beyond, most reads need a second row."""
_HASH: Final = 32


def find(content: bytes, key: bytes) -> Listing:
    """What a bucket lists of the row `key`; `ABSENT` where it is not listed."""
    at = _listed(content, key)
    return ABSENT if at < 0 else read_listing(content, at)


def may_exist(key: bytes, content: bytes | None) -> bool:
    """Whether a bucket lists the row `key`, or is not at hand."""
    return content is None or find(content, key).version != ABSENT.version


def checked(row: Row | None, listing: Listing) -> Row | Untrusted | None:
    """The row, if it is what the index lists; else why it is not to be believed."""
    if row is None:
        return None if listing.version == ABSENT.version else Untrusted(Number.ROLLED_BACK, "a row is withheld")
    if row.version != listing.version:
        return Untrusted(Number.ROLLED_BACK, "another version of a row than the last one")
    if row_digest(row.sealed) != listing.digest:
        return Untrusted(Number.INTEGRITY, "a row was altered")
    return row


def keys_of(content: bytes) -> list[bytes]:
    """Keys of the rows that a bucket lists."""
    return [content[at : at + KEY] for at in range(0, len(content), LISTING)]


def _listed(content: bytes, key: bytes) -> int:
    """Where the listing of `key` begins; -1 where there is none. What only looks like the key, between two, is none."""
    at = content.find(key)
    while at > 0 and at % LISTING:
        at = content.find(key, at + 1)
    return at


def _place(content: bytes, key: bytes) -> int:
    """Where a listing of `key` belongs: they are sorted."""
    low, high = 0, len(content) // LISTING
    while low < high:
        middle = (low + high) // 2
        at = middle * LISTING
        if content[at : at + KEY] < key:
            low = middle + 1
        else:
            high = middle
    return low * LISTING


class Reseal(NamedTuple):
    """A row that was read, to be replaced by the same in a newer epoch."""

    put: Put
    """At the version that it replaces."""
    read: bytes
    """Digest of the row as it was read."""


class _Tree:
    """Hashes of all nodes over the buckets' digests, level by level; a lone last node goes up as it is (RFC 6962)."""

    def __init__(self, leaves: bytes) -> None:
        self._levels = [bytearray(leaves)]
        while len(level := self._levels[-1]) > _HASH:
            above = bytearray()
            for at in range(0, len(level), 2 * _HASH):
                left, right = bytes(level[at : at + _HASH]), bytes(level[at + _HASH : at + 2 * _HASH])
                above += node_hash(left, right) if right else left
            self._levels.append(above)

    @property
    def root(self) -> bytes:
        return bytes(self._levels[-1]) or EMPTY_ROOT

    def node(self, level: int, number: int) -> bytes:
        return bytes(self._levels[level][number * _HASH : (number + 1) * _HASH])

    def changed(self, leaves: dict[int, bytes], count: int) -> list[dict[int, bytes]]:
        """The nodes that are different with these leaves and `count` of them in all, by level; the last is the root."""
        nodes = [leaves]
        while count > 1:
            below, level = nodes[-1], len(nodes) - 1
            above: dict[int, bytes] = {}
            for number in {child >> 1 for child in below}:
                left, right = 2 * number, 2 * number + 1
                node = below.get(left) or self.node(level, left)
                above[number] = node_hash(node, below.get(right) or self.node(level, right)) if right < count else node
            nodes.append(above)
            count = (count + 1) // 2
        return nodes

    def adopt(self, changed: list[dict[int, bytes]]) -> None:
        for level, nodes in enumerate(changed):
            if level == len(self._levels):
                self._levels.append(bytearray())
            hashes = self._levels[level]
            for number in sorted(nodes):
                hashes[number * _HASH : (number + 1) * _HASH] = nodes[number]


class Index:
    """The index as it is after the last commit that is known to be durable."""

    def __init__(self) -> None:
        """An empty one: one empty bucket, which is not written yet."""
        self.listings = 0
        """In all buckets."""
        self._versions = array("Q", [0])
        self._tree = _Tree(bucket_digest(0, 0, b""))
        self._cache: OrderedDict[int, bytes] = OrderedDict({0: b""})

    @classmethod
    def of(cls, rows: Iterable[Row | None], listings: int) -> Index:
        """From the buckets, in order, None for one that was never written. Whether they are true tells `root`."""
        index = cls()
        index.listings = listings
        index._versions = array("Q")
        index._cache.clear()
        leaves = bytearray()
        for number, row in enumerate(rows):
            version, content = (0, b"") if row is None else (row.version, row.sealed)
            index._versions.append(version)
            leaves += bucket_digest(number, version, content)
            if len(index._cache) < CACHED:
                index._cache[number] = content
        index._tree = _Tree(bytes(leaves))
        return index

    @property
    def buckets(self) -> int:
        return len(self._versions)

    @property
    def root(self) -> bytes:
        return self._tree.root

    def content(self, number: int) -> bytes | None:
        """Of a bucket that is at hand."""
        content = self._cache.get(number)
        if content is not None:
            self._cache.move_to_end(number)
        return content

    def learn(self, number: int, row: Row | None) -> bytes:
        """Content of the bucket that the host says is this one. Raises `Untrusted` ROLLED_BACK or INTEGRITY."""
        version, content = (0, b"") if row is None else (row.version, row.sealed)
        if version != self._versions[number]:
            raise Untrusted(Number.ROLLED_BACK, f"bucket {number} of the index is another than this Vault wrote last")
        if bucket_digest(number, version, content) != self._tree.node(0, number):
            raise Untrusted(Number.INTEGRITY, f"bucket {number} of the index was altered")
        self._keep(number, content)
        return content

    def draft(self) -> Draft:
        """What one commit changes."""
        return Draft(self)

    def _keep(self, number: int, content: bytes) -> None:
        self._cache[number] = content
        self._cache.move_to_end(number)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)


class Draft:
    """Changes to the index on top of what it is. Nothing happens to the index before `adopt`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._buckets = index.buckets
        self._listings = index.listings
        self._contents: dict[int, bytes] = {}
        self._changed: set[int] = set()
        self._nodes: list[dict[int, bytes]] = []

    @property
    def buckets(self) -> int:
        return self._buckets

    @property
    def listings(self) -> int:
        return self._listings

    def wanted(self, keys: Sequence[bytes]) -> list[int]:
        """Buckets whose content this draft needs for changes to these rows, and that are not at hand yet."""
        index, buckets = self._index, self._buckets
        numbers = {bucket_of(key, buckets) for key in keys}
        for grown in range(buckets, max(buckets, -(-(self._listings + len(keys)) // LOAD))):
            split = grown - (1 << (grown.bit_length() - 1))
            if split < buckets:  # else it is one that this draft makes
                numbers.add(split)
        for number in numbers:
            content = index.content(number)
            if content is not None:
                self._contents[number] = content
        return [number for number in numbers if number not in self._contents]

    def learn(self, number: int, row: Row | None) -> None:
        """Take a wanted bucket from the host. Raises as `Index.learn`."""
        self._contents[number] = self._index.learn(number, row)

    def fits(self, reseal: Reseal) -> bool:
        """Whether the row is still, or again in this draft, the one that was sealed anew."""
        listing = self._find(reseal.put.key)
        return (listing.version, listing.digest) == (reseal.put.version, reseal.read)

    def put(self, key: bytes, version: int, row: bytes) -> None:
        """The row `key` is at `version` now, with this digest."""
        self._list(key, self._find(key)._replace(version=version, digest=row))

    def log(self, key: bytes, leaf: int) -> Listing:
        """There is one more entry about the row, in the leaf of this index. What was listed before."""
        before = self._find(key)
        self._list(key, before._replace(entries=before.entries + 1, last=leaf + 1))
        return before

    def finish(self) -> tuple[list[Put], bytes]:
        """Buckets to write, and the root of the index with them."""
        while self._listings > LOAD * self._buckets:
            self._split()
        versions, digests, puts = self._index._versions, {}, []
        for number in sorted(self._changed):
            version = versions[number] if number < len(versions) else 0
            content = self._contents[number]
            digests[number] = bucket_digest(number, version + 1, content)
            puts.append(Put(bucket_key(number), version, version + 1, content))
        if not digests:
            return [], self._index.root
        self._nodes = self._index._tree.changed(digests, self._buckets)
        return puts, self._nodes[-1][0]

    def adopt(self) -> None:
        """The commit is durable: the index is this now."""
        index = self._index
        for number in sorted(self._changed):
            if number == len(index._versions):
                index._versions.append(0)
            index._versions[number] += 1
            index._keep(number, self._contents[number])
        index._tree.adopt(self._nodes)
        index.listings = self._listings

    def _find(self, key: bytes) -> Listing:
        return find(self._contents[bucket_of(key, self._buckets)], key)

    def _list(self, key: bytes, listing: Listing) -> None:
        number = bucket_of(key, self._buckets)
        content = self._contents[number]
        at = _listed(content, key)
        if at < 0:
            at = after = _place(content, key)
            self._listings += 1
        else:
            after = at + LISTING
        self._contents[number] = content[:at] + write_listing(key, listing) + content[after:]
        self._changed.add(number)

    def _split(self) -> None:
        """One bucket more: it takes half of the one whose turn it is."""
        new = self._buckets
        old = new - (1 << (new.bit_length() - 1))
        self._buckets += 1
        content = self._contents[old]
        listed = [content[at : at + LISTING] for at in range(0, len(content), LISTING)]
        self._contents[new] = b"".join(one for one in listed if bucket_of(one, self._buckets) == new)
        self._contents[old] = b"".join(one for one in listed if bucket_of(one, self._buckets) == old)
        self._changed |= {old, new}
