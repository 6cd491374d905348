"""The files of a client: `trust.toml` and `instructions.toml`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.trust_file import MAX_TRUST_FILE, parse_trust_policy
from strongroom.client.errors import BadInput
from strongroom.client.instructions_file import parse_instructions_file
from strongroom.client.policy import Policy
from strongroom.protocol.errors import Misuse
from strongroom.protocol.limits import MAX_INSTRUCTIONS, MAX_METHOD


def load_trust(path: str | Path) -> TrustPolicy:
    """The policy in a `trust.toml`. Raises `BadInput`, also for a file that everybody may write: whoever writes it
    says which servers get the secrets."""
    text = _read(path, MAX_TRUST_FILE, "make one with: strongroom trust pin --vault URL --authenticator URL")
    try:
        return parse_trust_policy(text)
    except Misuse as error:
        raise BadInput(f"{path}: {error.reason}", "mend it; docs/howto/policy.md shows every field") from None


def load_instructions(path: str | Path, trust: TrustPolicy, rules: Policy | None = None) -> bytes:
    """Encoded instructions from an `instructions.toml`: its Authenticators, recognised as `trust` says, its sign-in
    methods, and `rules` (or those in the file). Raises `BadInput` and `Misuse`."""
    text = _read(path, MAX_INSTRUCTIONS, "docs/howto/instructions.md shows such a file")
    folder = Path(path).parent

    def read(name: str) -> str:
        return _read(folder / name, MAX_METHOD, f"{path} names it")

    return parse_instructions_file(text, authenticator=trust.authenticator, rules=rules, read=read)


def _read(path: str | Path, limit: int, hint: str) -> str:
    try:
        with open(path, "rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise BadInput(f"everybody may write {path}, and with it say whom you trust", f"chmod o-w {path}")
            return file.read(limit + 1).decode()
    except OSError as error:
        raise BadInput(f"can't read {path}: {error.strerror}", hint) from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text", hint) from None
