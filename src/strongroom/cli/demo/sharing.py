"""The demo's second half: a document shared in the browser, from a site of its own."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli.demo.namespaces import open_namespace
from strongroom.cli.demo.pdf import write_pdf
from strongroom.cli.demo.provider import CLIENT_ID, email_of
from strongroom.cli.demo.sign_in import SignInByItself
from strongroom.cli.demo.stage import Stage, is_page_built, page_digest
from strongroom.cli.demo.teller import Teller, short
from strongroom.cli.files import write_new
from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.files import load_instructions
from strongroom.client.share.access import recipients_of
from strongroom.client.share.folders import find_sources
from strongroom.client.share.shares import Draft, Shares
from strongroom.client.share.site import Link, parse_site, site_statement
from strongroom.client.vault import AsyncVault
from strongroom.protocol.instructions import OidcMethod, parse_instructions, parse_method

NAMESPACE: Final = "share"
PAGE_CLIENT_ID: Final = "strongroom-demo-page"
MAX_BYTES: Final = 10 * 1024**3
DAYS: Final = 14
FINDINGS: Final = """\
finding,severity,where,what to do
F-01,critical,/login,"Parameters reach the database as they come: bind them"
F-02,high,/api/export,"Any customer can export another's orders: check whose they are"
F-03,low,/,"The server names its version: configure it not to"
"""
REPORT: Final = (
    "Penetration test of shop.example",
    "",
    "This is the example of a report: a recipe for breaking in,",
    "for those who have to mend it, and for nobody else.",
    "",
    "F-01  critical  /login       SQL injection in the user name",
    "F-02  high      /api/export  Orders of other customers",
    "F-03  low       /            Version of the server",
)


def share(stage: Stage, teller: Teller, trust: TrustPolicy) -> Link | None:
    """Serve the page, and share an example from Alice to Bob; its link, or None where no page was built."""
    teller.step("Alice shares a report with Bob, who has nothing but a browser")
    if not is_page_built():
        teller.text("The page is not built here: `make demo` builds it.", "yellow")
        return None
    # A page has a client id of its own, and no secret: everybody can read what a browser runs (RULES 11). Namespace and
    # statement name the same methods, byte for byte: who stores by one method is nobody by another.
    instructions = stage.client / "share.toml"
    write_new(instructions, _instructions_file(stage).encode(), what="the demo")
    open_namespace(
        stage,
        trust,
        NAMESPACE,
        instructions,
        max_records=10_000,
        max_bytes=10 * MAX_BYTES,
        max_records_each=1_000,
        max_bytes_each=2 * MAX_BYTES,
    )
    statement = _statement(stage, trust, instructions)
    file = stage.client / "trust.json"
    write_new(file, statement, what="the demo")
    stage.share(file)
    with (stage.client / "strongroom.toml").open("a") as settings:
        settings.write(f'site = "{stage.origin}"\nstatement = "{sha256(statement).hexdigest()}"\n')
    teller.fact("page", stage.origin, f"digest {short(bytes.fromhex(page_digest()))}, as the Vault claims")
    folder = stage.client / "report"
    folder.mkdir()
    write_new(folder / "report.pdf", _pdf(REPORT), what="the demo")
    write_new(folder / "findings.csv", FINDINGS.encode(), what="the demo")
    link = asyncio.run(_send(stage, trust, statement, folder))
    teller.fact("encrypted", "report.pdf, findings.csv", "with age; its key is in the Vault, for Bob")
    teller.fact("link", str(link), "holds an id and no key", style="green")
    teller.took("page server, encryption, upload, two commits")
    return link


def _instructions_file(stage: Stage) -> str:
    return f"""\
# How people sign in to share, on the page and on the command line.

[[authenticator]]
url = "{stage.authenticator["url"]}"

[[method]]
type = "oidc"
issuer = "{stage.issuer}"
client_id = "{CLIENT_ID}"
web_client_id = "{PAGE_CLIENT_ID}"
web_redirect_uri = "{stage.origin}/callback"
"""


async def _send(stage: Stage, trust: TrustPolicy, statement: bytes, folder: Path) -> Link:
    site = parse_site(stage.origin, statement)
    draft = Draft(
        title="Penetration test of shop.example",
        message="Hello Bob, here is what we found. Please tell me when F-01 is closed.",
        recipients=recipients_of([email_of("bob")]),
        expires_at=int(time.time()) + DAYS * 86_400,
    )
    async with AsyncVault(
        stage.vault["url"], trust, sign_in=SignInByItself("alice"), checkpoints=MemoryCheckpoints()
    ) as vault:
        return (await Shares(vault, trust, site).send(find_sources([folder]), draft)).link


def _statement(stage: Stage, trust: TrustPolicy, instructions: Path) -> bytes:
    parsed = parse_instructions(load_instructions(instructions, trust))
    return site_statement(
        name="Strongroom demo",
        policy=trust,
        vault=stage.vault["url"],
        authenticators=[stage.authenticator["url"]],
        namespace=NAMESPACE,
        methods=[method for method in map(parse_method, parsed.methods) if isinstance(method, OidcMethod)],
        max_bytes=MAX_BYTES,
        default_days=DAYS,
        max_days=90,
        contact="mailto:security@example.com",
    )


def _pdf(lines: tuple[str, ...]) -> bytes:
    """One page of text."""
    escaped = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines]
    shown = "".join(f"({line}) Tj T*\n" for line in escaped)
    content = f"BT /F1 12 Tf 16 TL 60 760 Td\n{shown}ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    ]
    return write_pdf(objects)
