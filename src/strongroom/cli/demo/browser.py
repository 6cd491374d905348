"""What a person does in the browser, for a demo that signs in by itself: the provider's form, sent as one user."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin

import httpx

from strongroom.cli.terminal import EXIT_FAILED, Failure

_STEPS: Final = 10


class _Forms(HTMLParser):
    """Actions and fields of the forms of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((attributes.get("action", ""), {}))
        elif tag == "input" and self.forms and "name" in attributes:
            self.forms[-1][1][attributes["name"]] = attributes.get("value", "")


def sign_in_as(user: str, url: str) -> None:
    """Open `url`, fill in `user` where the page asks for one, and follow every redirect, the loopback one included.

    Raises `Failure` when that leads nowhere.
    """
    try:
        with httpx.Client(trust_env=False, timeout=10) as browser:
            request = browser.build_request("GET", url)
            for _ in range(_STEPS):
                page = browser.send(request)
                if page.has_redirect_location:
                    request = browser.build_request("GET", urljoin(str(page.url), page.headers["location"]))
                    continue
                asked = [(action, fields) for action, fields in _Forms(page.text).forms if "sub" in fields]
                if page.is_error or not asked:
                    return
                action, fields = asked[0]
                target = urljoin(str(page.url), action or str(page.url))
                request = browser.build_request("POST", target, data={**fields, "sub": user})
    except httpx.HTTPError as error:
        raise Failure(
            f"the sign-in provider did not answer ({type(error).__name__})", "run the demo again", status=EXIT_FAILED
        ) from None
    raise Failure("the sign-in goes round in circles", "run the demo again", status=EXIT_FAILED)
