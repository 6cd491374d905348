"""`strongroom delete`: erase a secret."""

from __future__ import annotations

from strongroom.cli import conflict, options
from strongroom.cli.connection import run_with_vault
from strongroom.cli.settings import load_settings
from strongroom.cli.signing_in import UNASKED, Login, signs_in
from strongroom.cli.terminal import confirm, result_json, say
from strongroom.client.addresses import parse_address


@signs_in
def delete(
    address: options.AddressArgument,
    version: options.Version = None,
    yes: options.Yes = False,
    key: options.Key = None,
    vault: options.VaultUrl = None,
    trust: options.Trust = None,
    config: options.Config = None,
    login: Login = UNASKED,
    as_json: options.AsJson = False,
) -> None:
    """Erase a secret for everybody. Its version is kept, so that nobody can bring it back unnoticed."""
    settings = load_settings(config)
    where = parse_address(address)
    ways = login.ways()
    if not yes:
        confirm(f"Erase {address} for everybody?", hint="nothing was erased; --yes doesn't ask")
    with conflict.explained(conflict.of_version):
        erased = run_with_vault(
            lambda opened: opened.delete(where, replaces=version),
            settings=settings,
            vault=vault,
            trust=trust,
            sign_in=ways,
            issuer=login.issuer,
            key=key,
        )
    if as_json:
        result_json({"address": address, "version": erased.version, "epoch": erased.epoch})
        return
    say(f"{address} is erased (version {erased.version})")
    say(f"a copy of the database that the host kept stays sealed under key epoch {erased.epoch}", "dim")
