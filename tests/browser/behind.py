"""What goes on behind the page: the host's disk, and the sender's own clients."""

import asyncio
import time

import httpx
import msgspec

from strongroom.client.vault import AsyncVault
from strongroom.protocol.messages import ById
from tests.support.browse import walk
from tests.support.site import apart


class As:
    """A sign-in for the Python SDK: this user, at the test's provider."""

    def __init__(self, user):
        self.user = user

    async def authorize(self, url):
        await asyncio.to_thread(walk, self.user, url)


def parts(site):
    """The files that the host keeps blobs in."""
    return {path for path in (site.servers / "share" / "blobs").glob("*/*") if path.is_file()}


def status(site, blob):
    """HTTP status of a blob, for anybody."""
    return httpx.get(f"{site.origin}/blobs/{blob}", trust_env=False).status_code


class Held:
    """What the host has got since this was made; `blob` is its only blob's id."""

    def __init__(self, site):
        self._site = site
        self._before = parts(site)

    @property
    def parts(self):
        return sorted(parts(self._site) - self._before, key=lambda path: (path.parent, int(path.name)))

    @property
    def blob(self):
        (blob,) = {path.parent.name for path in self.parts}
        return blob

    def alter(self, at):
        """Change one bit of the pack, at this byte; from its end if `at` is negative."""
        place = at if at >= 0 else at + sum(path.stat().st_size for path in self.parts)
        path = next(path for path in reversed(self.parts) if int(path.name) <= place)
        data = bytearray(path.read_bytes())
        data[place - int(path.name)] ^= 1
        path.write_bytes(data)

    def lose(self):
        for path in self.parts:
            path.unlink()


def expire(site, link, *, sender):
    """Have a share end in a moment, by its sender's own client, and wait for that."""
    where = ById(id=bytes.fromhex(link.rpartition("/")[2]))

    async def shorten():
        async with AsyncVault(site.vault, site.trust, sign_in=As(sender)) as vault:
            terms = (await vault.history(where)).terms
            ends = int(time.time()) + 2
            await vault.update(where, terms=msgspec.structs.replace(terms, expires_at=ends))
            return ends

    ends = apart(lambda: asyncio.run(shorten()))
    while time.time() < ends + 1:
        time.sleep(0.1)
