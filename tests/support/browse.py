"""A browser for $BROWSER: `python -m tests.support.browse USER URL` signs in, at the demo's provider or at ours."""

import sys
from urllib.parse import urljoin

import httpx

from strongroom.cli.demo.browser import sign_in_as
from tests.idp.provider import Form


def walk(user: str, url: str) -> None:
    """Fill in our provider's forms and follow every redirect, the loopback one included."""
    typed = {"user": user, "password": f"pw-{user}"}
    with httpx.Client(trust_env=False) as browser:
        request = browser.build_request("GET", url)
        for _ in range(20):
            page = browser.send(request)
            if page.is_redirect:
                request = browser.build_request("GET", urljoin(str(page.url), page.headers["location"]))
                continue
            form = Form(page.text)
            if form.action is None or page.is_error:
                return
            fields = {name: typed.get(name, value) for name, value in form.fields.items()}
            request = browser.build_request("POST", urljoin(str(page.url), form.action), data=fields)


if __name__ == "__main__":
    who, where = sys.argv[1:]
    asks = httpx.get(where, follow_redirects=True, trust_env=False).text
    (sign_in_as if 'name="sub"' in asks else walk)(who, where)
