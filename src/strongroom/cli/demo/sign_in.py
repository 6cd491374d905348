"""Sign-in without a person in front of the browser."""

from __future__ import annotations

import asyncio

from strongroom.cli.demo.browser import sign_in_as


class SignInByItself:
    """Does in the browser what a person would do: names the user in the provider's form."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def authorize(self, url: str) -> None:
        await asyncio.to_thread(sign_in_as, self._user, url)
