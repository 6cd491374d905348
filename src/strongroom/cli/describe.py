"""`strongroom describe`: how to sign in for a record or a namespace."""

from __future__ import annotations

from strongroom.cli import options
from strongroom.cli.connection import run_with_vault
from strongroom.cli.settings import load_settings
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import Failure, named, result_json, stdout
from strongroom.client.addresses import parse_address
from strongroom.client.errors import BadInput
from strongroom.client.results import Description, Method
from strongroom.protocol.instructions import KeysPublic, OidcPublic
from strongroom.protocol.messages import Address, OfNamespace


@signs_in
def describe(
    address: options.DescribedArgument,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Show how to sign in for a record or a namespace.

    A random id is enough to see this; for a name you sign in first. The rules are shown to nobody.
    """
    settings = load_settings(config)
    where = _parse(address)
    found = run_with_vault(
        lambda opened: opened.describe(where),
        settings=settings,
        vault=vault,
        trust=trust,
        sign_in=login.ways(),
        issuer=login.issuer,
    )
    if as_json:
        result_json(_as_json(address, found))
        return
    out = stdout()
    for place in found.authenticators:
        out.print(named("authenticator", place.url))
        out.print(named("cluster", place.cluster_id.hex(), indent=2))
    out.print(f"{found.quorum} of {len(found.authenticators)} must agree\n", style="dim")
    for method in found.methods:
        for name, value in (_facts(method) | {"digest": method.digest.hex()}).items():
            out.print(named(name, value, indent=0 if name == "sign-in" else 2))


def _facts(method: Method) -> dict[str, str]:
    match method.public:
        case OidcPublic(scopes=scopes):
            return {"sign-in": method.name, "from": ", ".join(method.channels), "scopes": " ".join(scopes)}
        case KeysPublic(fingerprints=fingerprints):
            return {"sign-in": f"one of {len(fingerprints)} ssh keys: {method.name}"}
    return {"sign-in": method.title}


def _parse(address: str) -> Address | OfNamespace:
    if address.endswith("/"):
        return OfNamespace(namespace=address[:-1])
    try:
        return parse_address(address)
    except BadInput as error:
        if "/" in address:
            raise
        raise Failure(error.error, f"for a namespace end it with a slash, {address[:80]}/; {error.hint}") from None


def _as_json(address: str, found: Description) -> dict[str, object]:
    return {
        "address": address,
        "quorum": found.quorum,
        "authenticators": [{"url": place.url, "cluster_id": place.cluster_id.hex()} for place in found.authenticators],
        "methods": [
            {
                "digest": method.digest.hex(),
                "kind": method.kind,
                "name": method.name,
                "issuer": method.issuer,
                "channels": list(method.channels),
            }
            for method in found.methods
        ],
    }
