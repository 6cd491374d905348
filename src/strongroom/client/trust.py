"""The client's trust policy from its file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from strongroom.attestation.policy import TrustPolicy
from strongroom.attestation.trust_file import MAX_TRUST_FILE, parse_trust_policy
from strongroom.client.errors import BadInput
from strongroom.protocol.errors import Misuse


def load_trust(path: str | Path) -> TrustPolicy:
    """The policy in a `trust.toml`. Raises `BadInput`, also for a file that everybody may write: whoever writes it
    says which servers get the secrets."""
    hint = "make one with: strongroom trust pin --vault URL --authenticator URL"
    try:
        with open(path, "rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise BadInput(f"everybody may write {path}, and with it say whom you trust", f"chmod o-w {path}")
            data = file.read(MAX_TRUST_FILE + 1)
    except OSError as error:
        raise BadInput(f"can't read the trust policy {path}: {error.strerror}", hint) from None
    try:
        return parse_trust_policy(data.decode())
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text", hint) from None
    except Misuse as error:
        raise BadInput(f"{path}: {error.reason}", hint) from None
