"""A whole site on loopback, of real processes: Vault, Authenticator, OpenID provider, share server with the built page.

Everything listens on free ports and ends with this process. `Site.origin` is on `localhost`: passkeys want a name.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli.connection import namespace_instructions
from strongroom.cli.demo.processes import Child
from strongroom.cli.pinning import pin_exactly
from strongroom.cli.trust import look_at
from strongroom.client.files import load_instructions
from strongroom.client.keys import load_key
from strongroom.client.methods import oidc_method
from strongroom.client.page import SHIPPED, parse_page
from strongroom.client.share.site import site_statement
from strongroom.client.vault import AsyncVault
from strongroom.protocol.instructions import parse_instructions, parse_method
from tests.idp.provider import NATIVE, PAGE, Provider

DIST = SHIPPED
NAMESPACE = "share"
INSTRUCTIONS = """\
[[authenticator]]
url = "{authenticator}"
[[method]]
type = "oidc"
issuer = "{issuer}"
client_id = "{native}"
web_client_id = "{page}"
web_redirect_uri = "{origin}/callback"
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def page_missing():
    """Why the page can't be served here, or None."""
    return None if (DIST / "page.json").exists() else "the page is not built (`make page` builds it)"


def apart(work):
    """What `work()` returns, from a thread of its own: Playwright's plain API keeps an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class Site:
    """A context manager. `folder` is a client's: trust.toml, strongroom.toml, instructions.toml."""

    def __init__(self, root, *, page=DIST, share_options=(), max_bytes=1 << 30, more_methods=""):
        """`more_methods`: tables of an instructions file, for people whom the provider does not know."""
        self.servers, self.folder = root / "servers", root / "client"
        self.page, self.share_options, self.max_bytes = page, share_options, max_bytes
        self.more_methods = more_methods
        self.port = free_port()
        self.origin = f"http://localhost:{self.port}"
        self._stack = ExitStack()

    def __enter__(self):
        self.folder.mkdir(parents=True)
        try:
            apart(self._start)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        self._stack.close()

    def _start(self):
        provider = Provider(page_redirect=f"{self.origin}/callback")
        roles = [self._serve("vault", "--page", self.page_digest), self._serve("authenticator")]
        self.provider = self._stack.enter_context(provider)
        self.vault, self.authenticator = (role.ready()["url"] for role in roles)
        seen = (look_at(self.vault, "vault", ["insecure"]), look_at(self.authenticator, "authenticator", ["insecure"]))
        self.trust = pin_exactly(*seen)
        self._write_client_files()
        asyncio.run(self._make_namespace())
        self.trust_json = self.servers / "trust.json"
        self.trust_json.write_bytes(self.statement())
        self.start_share()

    @property
    def page_digest(self):
        return parse_page((self.page / "page.json").read_bytes()).digest.hex()

    def statement(self, **changed):
        """The site statement, with some of it changed."""
        words = {
            "name": "Example Security",
            "policy": self.trust,
            "vault": self.vault,
            "authenticators": [self.authenticator],
            "namespace": NAMESPACE,
            "methods": self.methods,
            "max_bytes": self.max_bytes,
            "default_days": 14,
            "max_days": 90,
            "contact": "mailto:security@example.com",
        }
        return site_statement(**words | changed)

    @property
    def methods(self):
        """Exactly those of the namespace."""
        encoded = load_instructions(self.folder / "instructions.toml", self.trust)
        return [parse_method(definition) for definition in parse_instructions(encoded).methods]

    @property
    def method(self):
        return oidc_method(self.provider.issuer, NATIVE, web_client_id=PAGE, web_redirect_uri=f"{self.origin}/callback")

    def start_share(self):
        """Start the share server (again)."""
        arguments = ["strongroom.cli", "serve", "share", "--data", str(self.servers / "share")]
        arguments += ["--vault", self.vault, "--authenticator", self.authenticator, "--trust", str(self.trust_json)]
        arguments += ["--page", str(self.page), "--listen", f"127.0.0.1:{self.port}", "--until-eof", "--json"]
        self.share = Child("share", [*arguments, *self.share_options])
        self._stack.callback(self.share.stop)
        self.share.ready()

    def strongroom(self, *arguments, user=None, stdin=b""):
        """The command line in `folder`; a sign-in is done by `user` at the provider."""
        from tests.support.command import strongroom

        return strongroom(*arguments, cwd=self.folder, user=user, stdin=stdin)

    def _serve(self, role, *more):
        where = ["--data", str(self.servers / role), "--platform", str(self.servers / "platform")]
        listen = ["--listen", "127.0.0.1:0", "--until-eof", "--json"]
        child = Child(role, ["strongroom.cli", "serve", role, *where, *listen, *more])
        self._stack.callback(child.stop)
        return child

    def _write_client_files(self):
        (self.folder / "trust.toml").write_text(format_trust_policy(self.trust))
        (self.folder / "strongroom.toml").write_text(
            f'vault = "{self.vault}"\ntrust = "trust.toml"\n'
            f'instructions = "instructions.toml"\nnamespace = "{NAMESPACE}"\n'
        )
        words = {"authenticator": self.authenticator, "issuer": self.provider.issuer, "origin": self.origin}
        instructions = INSTRUCTIONS.format(**words, native=NATIVE, page=PAGE) + self.more_methods
        (self.folder / "instructions.toml").write_text(instructions)

    async def _make_namespace(self):
        encoded = namespace_instructions(self.folder / "instructions.toml", self.trust, [], [])
        owner = load_key(self.servers / "vault" / "owner.key")
        async with AsyncVault(self.vault, self.trust, binding_key=owner) as vault:
            await vault.create_namespace(
                NAMESPACE,
                instructions=encoded,
                max_records=10_000,
                max_bytes=1 << 40,
                max_records_per_identity=1_000,
                max_bytes_per_identity=1 << 38,
            )
