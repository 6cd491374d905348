"""`strongroom serve share`: the server that people open in a browser to send and to receive."""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from strongroom.cli import terminal
from strongroom.cli.listening import (
    AsJson,
    Listen,
    UntilEof,
    failure_of,
    parse_listen,
    stop_at_end_of_stdin,
    verify_free,
)
from strongroom.cli.options import size_of
from strongroom.cli.terminal import Failure, printable, say
from strongroom.client.page import page_digest
from strongroom.host.instance import CannotServe

Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Index of blobs, and reports of abuse; made at the first start.")
]
Vault = Annotated[str, typer.Option("--vault", metavar="URL", help="The Vault whose statements are obeyed.")]
Authenticators = Annotated[
    list[str] | None,
    typer.Option(
        "--authenticator",
        metavar="URL",
        help="An Authenticator that the page may reach, in the order of the site statement; may be repeated.",
    ),
]
BlobsAt = Annotated[
    str | None,
    typer.Option(
        "--blobs",
        metavar="URL",
        help="Where ciphertext is kept: file:///DIR, s3://BUCKET/PREFIX, gs://…, az://…, or memory:///, which forgets. "
        "[default: DIR/blobs]",
    ),
]
Page = Annotated[
    Path | None, typer.Option("--page", metavar="DIR", help="A built page. [default: the one that comes with this]")
]
Trust = Annotated[
    Path | None,
    typer.Option("--trust", metavar="FILE", help="The site statement, which is served as /trust.json."),
]
MaxBlob = Annotated[
    str, typer.Option("--max-blob", metavar="BYTES", help="Of one share; k, M, G and T are understood.")
]
MaxTotal = Annotated[
    str, typer.Option("--max-total", metavar="BYTES", help="Of all shares, unfinished uploads with their full length.")
]
MaxDays = Annotated[
    int,
    typer.Option(
        "--max-days",
        min=1,
        max=36_500,
        metavar="N",
        help="For which a share's bytes are kept, whatever expiry it has, unless it is extended.",
    ),
]
BehindProxy = Annotated[
    bool,
    typer.Option(
        "--behind-proxy",
        help="Count by the last address in X-Forwarded-For, which the proxy in front must set. Never without one: "
        "whoever asks could write it.",
    ),
]


def share(
    data: Data,
    vault: Vault,
    authenticator: Authenticators = None,
    listen: Listen = "127.0.0.1:8500",
    blobs: BlobsAt = None,
    page: Page = None,
    trust: Trust = None,
    max_blob: MaxBlob = "10G",
    max_total: MaxTotal = "100G",
    max_days: MaxDays = 400,
    behind_proxy: BehindProxy = False,
    until_eof: UntilEof = False,
    as_json: AsJson = False,
) -> None:
    """Serve the page by which people send and receive, and keep what is too large for the Vault: as ciphertext only."""
    from strongroom.host.share.blobs import Quotas  # object stores and an HTTP client: not for the other roles
    from strongroom.host.share.serve import Ready, Settings, serve

    host, port = parse_listen(listen)
    verify_free(host, port)
    settings = Settings(
        data=data,
        host=host,
        port=port,
        vault=_url(vault, "--vault"),
        authenticators=tuple(_url(url, "--authenticator") for url in authenticator or []),
        blobs=blobs,
        page=page,
        trust=trust,
        quotas=Quotas(
            max_blob=size_of(max_blob, "--max-blob"), max_total=size_of(max_total, "--max-total"), max_days=max_days
        ),
        behind_proxy=behind_proxy,
    )

    def ready(found: Ready) -> None:
        page = page_digest(found.page).hex()
        if as_json:
            terminal.result_json(
                {
                    "role": "share",
                    "url": found.url,
                    "cluster_id": found.cluster_id,
                    "blobs": found.blobs,
                    "page": page,
                    "statement": found.statement,
                }
            )
            sys.stdout.flush()
            return
        terminal.stdout().print("share ready", style="bold green")
        kept = f"{found.blobs} ({found.used:,} of {settings.quotas.max_total:,} bytes)"
        for name, value in (
            ("url", found.url),
            ("vault", found.cluster_id),
            ("page", page),
            ("statement", found.statement or "none"),
            ("blobs", kept),
            ("abuse", found.abuse),
        ):
            terminal.stdout().print(f"  {name:<12} {printable(str(value))}")
        if trust is None:
            say("no site statement: the page will say so; make one with `strongroom share site`", "yellow")
        if not ipaddress.ip_address(host).is_loopback:
            say("browsers give a page no cryptography over plain HTTP: put a proxy with HTTPS in front", "yellow")
        say("Ctrl-C stops it", "dim")

    async def run() -> None:
        if until_eof:
            stop_at_end_of_stdin()
        say(f"waiting for the Vault at {settings.vault}", "dim")
        await serve(settings, ready)

    try:
        uvloop.run(run())
    except CannotServe as error:
        raise failure_of(error) from None
    say("share stopped", "dim")


def _url(text: str, option: str) -> str:
    """Raises `Failure`."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise Failure(f"{option}: {printable(text)} is not a URL", "write it as http://127.0.0.1:8400")
    return text
