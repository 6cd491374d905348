"""Which part of the share server answers which path."""

from __future__ import annotations

from strongroom.host.share import tus
from strongroom.host.share.abuse import Abuse
from strongroom.host.share.answers import Answer, text
from strongroom.host.share.connection import Request
from strongroom.host.share.page import Page
from strongroom.host.share.proxy import Proxy
from strongroom.host.share.tus import Tus


class Site:
    """Everything at one origin."""

    def __init__(self, tus: Tus, proxy: Proxy, page: Page, abuse: Abuse) -> None:
        self._tus = tus
        self._proxy = proxy
        self._page = page
        self._abuse = abuse

    async def handle(self, request: Request) -> Answer:
        """Raises `Problem`, and what a body raises that ends early."""
        path = request.path
        if path.startswith(tus.PREFIX):
            return await self._tus.handle(request)
        if path.startswith(("/vault/", "/authenticator/")):
            return await self._proxy.handle(request)
        if path == "/abuse":
            return await self._abuse.handle(request)
        if path == "/health" and request.method in ("GET", "HEAD"):
            return text(200, "ok", {"cache-control": "no-store"})
        return self._page.answer(request.method, path, request.headers)
