"""Sign-in of an enclave by its quote: a key is released to code, whoever runs it.

Attacks stopped here:

1. A quote made for somebody else's session, or for another purpose: its report data are the challenge, which covers the
   binding key (`ceremonies`), and which nothing else that is quoted can be (domain labels).
2. Another program, the right one under a debugger or on a machine whose weaknesses are known, a quote forged with keys
   taken from some machine: the definition's own policies say what is accepted, in the language of trust policies.
3. A quote that anybody can make: software evidence counts under roots only that the definition names as insecure.

Not stopped here: a program that quotes report data which others choose lends them its name.
"""

from __future__ import annotations

import msgspec

from strongroom.attestation.appraisal import appraise_workload
from strongroom.attestation.policy import RolePolicy, SnpPolicy, SoftwarePolicy, TdxPolicy, sections_of
from strongroom.enclave.authenticator.ceremonies import Ceremony
from strongroom.protocol.codec import decode
from strongroom.protocol.errors import Misuse, Number, Untrusted
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import EnclaveMethod, Workload
from strongroom.protocol.limits import MAX_METHOD
from strongroom.protocol.sign_in_messages import EnclaveSignIn
from strongroom.protocol.subjects import MAX_SUBJECT, is_subject


def verify_enclaves(method: EnclaveMethod) -> None:
    """Raises `Misuse` METHOD_INVALID with the place and the reason."""
    names = [one.name for one in method.workloads]
    for at, one in enumerate(method.workloads):
        if not is_subject(one.name):
            raise _invalid(f"workloads[{at}].name: not 1 to {MAX_SUBJECT} printable ASCII characters")
        if one.name in names[:at]:
            raise _invalid(f"workloads[{at}].name: listed twice")
        _verify_policy(_policy(one, at), at)
    if method.public.names != names:
        raise _invalid("public.names: not those of the workloads, in their order")


def verify_quote_of_workload(untrusted: EnclaveSignIn, method: EnclaveMethod, ceremony: Ceremony, now: int) -> Fact:
    """Which workload made the quote. Raises `Untrusted` EVIDENCE and POLICY."""
    try:
        appraisal = appraise_workload(
            untrusted.kind,
            untrusted.quote,
            untrusted.collateral,
            report_data=ceremony.challenge("enclave") + bytes(32),
            policies=[_policy(one, at) for at, one in enumerate(method.workloads)],
            now=now,
        )
    except Untrusted as error:
        if error.number is Number.POLICY:
            # The operator reads reasons, and this one may name a machine of somebody else's.
            raise Untrusted(Number.POLICY, "the quote is of no workload that the method accepts") from None
        raise
    return msgspec.structs.replace(
        fact(ceremony.method, "enclave", method.workloads[appraisal.index].name),
        claims=[
            f"platform={untrusted.kind}",
            f"measurement={appraisal.report.measurement.hex()}",
            f"accepted_by={appraisal.accepted_by}",
        ],
    )


def _policy(workload: Workload, at: int) -> RolePolicy:
    try:
        return decode(workload.policy, RolePolicy, limit=MAX_METHOD)
    except Misuse:
        raise _invalid(f"workloads[{at}].policy: not an encoded policy") from None


def _verify_policy(policy: RolePolicy, at: int) -> None:
    """Nothing that would be passed over in silence, and nothing that could never accept anybody."""
    if policy.clusters:
        raise _invalid(f"workloads[{at}].policy.clusters: a quote shows no cluster")
    if policy.config:
        raise _invalid(f"workloads[{at}].policy.config: a quote shows no configuration")
    sections = sections_of(policy)
    if not sections:
        raise _invalid(f"workloads[{at}].policy: names no platform")
    for kind, section in sections.items():
        place = f"workloads[{at}].policy.{kind.replace('-', '_')}"
        if not (section.measurements or (not isinstance(section, TdxPolicy) and section.signers)):
            raise _invalid(f"{place}.measurements: neither a program nor a signer is named")
        if isinstance(section, SoftwarePolicy) and not section.roots:
            raise _invalid(f"{place}.roots: none is named")
        if isinstance(section, SnpPolicy) and not section.products:
            raise _invalid(f"{place}.products: none is named")


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)
