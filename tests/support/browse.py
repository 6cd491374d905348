"""A browser for $BROWSER: `python -m tests.support.browse USER URL` signs in, at the demo's provider or at ours.

With the standard library's client alone, since each sign-in of a test starts this anew.
"""

import sys
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

from tests.idp.form import Form

SECONDS = 10


def walk(user: str, url: str) -> None:
    """Fill in the provider's forms and follow every redirect, the loopback one included."""
    typed = {"user": user, "password": f"pw-{user}", "sub": user}
    browser = build_opener(ProxyHandler({}), HTTPCookieProcessor())
    target, sent = url, None
    for _ in range(20):
        try:
            page: HTTPResponse = browser.open(target, sent, timeout=SECONDS)
        except HTTPError as refused:
            refused.close()
            return
        with page:
            form = Form(page.read().decode())
            if form.action is None:
                return
            target = urljoin(page.url, form.action or page.url)
        sent = urlencode({name: typed.get(name, value) for name, value in form.fields.items()}).encode()


if __name__ == "__main__":
    walk(*sys.argv[1:])
