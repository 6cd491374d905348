"""An enclave of another role, or at another stage, than is meant: most often an option was left out, or it is early.

Appraisal refuses it as well, and can't say more than that it does. Here nothing is accepted: what evidence says of
itself is only turned away.
"""

from __future__ import annotations

from typing import Final

from strongroom.client.errors import InOwnWords
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.evidence import Role, Stage, parse_any_evidence

_NOT_YET: Final[dict[Stage, str]] = {
    "founding": "it is being founded, and serves once its custodians have accepted",
    "joining": "it joins a cluster, and serves once a member has given it the key ring",
    "recovering": "it is being recovered, and serves once custodians have opened the key ring",
}


class AnotherEnclave(InOwnWords, Untrusted):
    """Not the one that is meant, by its own word."""

    def __init__(self, error: str, hint: str) -> None:
        super().__init__(Number.EVIDENCE, error, hint)


def verify_meant(untrusted_evidence: bytes, role: Role, stage: Stage = "member") -> None:
    """It says that it is of this role and at this stage, which only appraisal proves. Raises `Untrusted`."""
    claims = parse_any_evidence(untrusted_evidence)[1]
    if claims.role != role:
        raise AnotherEnclave(
            f"this is evidence of role {claims.role}; {role} was expected",
            f"name the URL of a {role}; or say --role {claims.role} where the command has that option"
            if role == "vault"
            else f"name the URL of an {role}, or leave --role out",
        )
    if claims.stage == stage:
        return
    if stage == "member" and claims.attempt is not None and claims.attempt.drill:
        raise AnotherEnclave(
            "this enclave never serves: custodians use it for a drill", "name the URL of the cluster's own"
        )
    if stage == "member":
        raise AnotherEnclave(
            f"this enclave does not serve yet: {_NOT_YET[claims.stage]}",
            "wait, and try again; `strongroom status URL --host` says whom it waits for",
        )
    raise AnotherEnclave(
        f"this enclave is {claims.stage}; {stage} was expected",
        "name the URL of the one that is meant; `strongroom status URL --host` says how each stands",
    )
