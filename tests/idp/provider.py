"""Starts tests/idp/provider.mjs and signs users in as a browser would: pages, forms, cookies, redirects."""

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpx

from tests.idp.form import Form
from tools.node import commands

FOLDER = Path(__file__).parent
PASSWORD_ACR, MFA_ACR = "urn:test:password", "urn:test:mfa"
USERS = ("alice", "bob", "carol", "mallory")
NATIVE = "strongroom-native"
WEB, WEB_SECRET = "strongroom-web", "strongroom-web-secret"
PAGE = "strongroom-page"
READY_SECONDS = 20


def missing() -> str | None:
    """Why the provider cannot run here, or None."""
    if commands() is None:
        return "there is no Node.js here (`make test` installs one)"
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        return "tests/idp/node_modules is missing (`make test` installs it)"
    return None


class Provider:
    """One running provider; a context manager too. It ends with this process: its stdin is a pipe held here."""

    issuer: str

    def __init__(
        self,
        *,
        algs: str = "RS256,ES256,EdDSA",
        id_token_seconds: int = 300,
        page_redirect: str = "",
        pushed_only: bool = False,
    ) -> None:
        self._settings = {
            "ALGS": algs,
            "ID_TOKEN_SECONDS": str(id_token_seconds),
            "PAGE_REDIRECT": page_redirect,
            "PUSHED_ONLY": "1" if pushed_only else "",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> Self:
        found = commands()
        assert found is not None, missing()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [*found[0], "provider.mjs"],
            cwd=FOLDER,
            env={**os.environ, **self._settings, "PORT": str(port)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        overdue = threading.Timer(READY_SECONDS, self._process.kill)
        overdue.start()
        line = self._process.stdout.readline()
        overdue.cancel()
        if not line:
            log = self.log()
            self.stop()
            raise RuntimeError(f"the provider did not start:\n{log}")
        self.issuer = json.loads(line)["issuer"]
        return self

    def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.close()

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def rotate(self, *, drop_old: bool = False) -> list[str]:
        """New signing keys in front of the old ones, or in their place; the key ids now published."""
        answer = httpx.post(f"{self.issuer}/__rotate" + ("?drop=1" if drop_old else ""))
        answer.raise_for_status()
        kids: list[str] = answer.json()
        return kids

    def sign_in(self, authorization_url: str, user: str) -> str:
        """Walk login and consent as `user`; the URL that the browser would be sent to at the end, not requested."""
        end = self._walk(authorization_url, user)
        assert isinstance(end, str), f"no redirect out of the provider, but this page: {end.status_code} {end.text}"
        return end

    def approve_device(self, verification_uri_complete: str, user: str) -> None:
        """What the user does with the link that a device shows (RFC 8628)."""
        end = self._walk(verification_uri_complete, user)
        assert isinstance(end, httpx.Response), f"left the provider for {end}"
        assert end.status_code == 200, end.text

    def _walk(self, url: str, user: str) -> httpx.Response | str:
        """A browser without cookies: the redirect that leaves the provider, or the last page without a form."""
        typed = {"user": user, "password": f"pw-{user}"}
        with httpx.Client() as browser:
            request = browser.build_request("GET", url)
            for _ in range(20):
                page = browser.send(request)
                if page.is_redirect:
                    target = urljoin(str(page.url), page.headers["location"])
                    if not target.startswith(self.issuer + "/"):
                        return target
                    request = browser.build_request("GET", target)
                    continue
                form = Form(page.text)
                if form.action is None or page.is_error:
                    return page
                fields = {name: typed.get(name, value) for name, value in form.fields.items()}
                request = browser.build_request("POST", urljoin(str(page.url), form.action), data=fields)
        raise AssertionError("the provider goes round in circles")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
