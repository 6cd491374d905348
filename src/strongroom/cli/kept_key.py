"""The key that sessions are bound to, kept between commands: one for each Vault, in the user's state folder.

With a fresh key at each call, who owns an account would be a stranger whenever they come, and strangers who guess at it
could make them wait: wrong passwords are counted apart for keys that have signed in there before. One for each server,
since two Vaults that compare the keys they met would otherwise find that they have the same user.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from strongroom.cli.terminal import Failure, say
from strongroom.client.errors import BadInput
from strongroom.client.keys import CantMake, load_or_make_key
from strongroom.client.state import state_folder
from strongroom.client.urls import origin_of, verify_url
from strongroom.protocol.primitives import SigningKey


def kept_file(vault: str) -> Path:
    """Where the key for the Vault at this URL is kept. Raises `BadInput` and `Failure`."""
    origin = origin_of(verify_url(vault))
    return _state() / "keys" / f"{sha256(origin.encode()).hexdigest()}.key"


def kept_key(vault: str) -> SigningKey:
    """The key for the Vault at this URL, made when there is none; a fresh one, and says so, where none can be kept.
    Raises `BadInput`, and leaves as it is what it can't read."""
    path = kept_file(vault)
    try:
        return load_or_make_key(path)
    except CantMake as error:
        # A program in a container without a home signs in all the same: as somebody new each time.
        say(f"no key is kept for the next time: {error.error}", "dim")
        return SigningKey.generate()
    except BadInput as error:
        raise BadInput(error.error, f"move {path} away, and a new key is made; or name another with --key") from None


def _state() -> Path:
    try:
        return state_folder()
    except BadInput:
        raise Failure("there is no home directory to keep a key in", "set HOME, or name a key with --key") from None
