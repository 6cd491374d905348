"""Strongroom stores keys in the cloud so that only the people named by the depositor can read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.attestation.policy import TrustPolicy as TrustPolicy
    from strongroom.client.errors import BadInput as BadInput
    from strongroom.client.errors import Unreachable as Unreachable
    from strongroom.client.files import load_instructions as load_instructions
    from strongroom.client.files import load_trust as load_trust
    from strongroom.client.policy import Policy as Policy
    from strongroom.client.quorum import quorum_of as quorum_of
    from strongroom.client.quorum import two_of as two_of
    from strongroom.client.sign_in import BrowserSignIn as BrowserSignIn
    from strongroom.client.sync import Vault as Vault
    from strongroom.client.vault import AsyncVault as AsyncVault
    from strongroom.protocol.errors import Misuse as Misuse
    from strongroom.protocol.errors import Refused as Refused
    from strongroom.protocol.errors import StrongroomError as StrongroomError
    from strongroom.protocol.errors import Unavailable as Unavailable
    from strongroom.protocol.errors import Untrusted as Untrusted

_HOMES = {
    "AsyncVault": "client.vault",
    "BadInput": "client.errors",
    "BrowserSignIn": "client.sign_in",
    "Misuse": "protocol.errors",
    "Policy": "client.policy",
    "Refused": "protocol.errors",
    "StrongroomError": "protocol.errors",
    "TrustPolicy": "attestation.policy",
    "Unavailable": "protocol.errors",
    "Unreachable": "client.errors",
    "Untrusted": "protocol.errors",
    "Vault": "client.sync",
    "load_instructions": "client.files",
    "load_trust": "client.files",
    "quorum_of": "client.quorum",
    "two_of": "client.quorum",
}


def __getattr__(name: str) -> Any:
    """Public names are imported at first use: enclaves and the host run this file too, and need none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
