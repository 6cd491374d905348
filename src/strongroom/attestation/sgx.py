"""SGX quotes of version 3: from untrusted bytes to a verified report of a production enclave."""

from __future__ import annotations

import struct
from typing import Final

from strongroom.attestation.intel import DEBUG, parse_quote, refuse, verify_quote
from strongroom.attestation.reports import SgxReport

_REPORT: Final = struct.Struct("<16sI28xQQ32s32x32s96xHH60x64s")
"""Intel "Software Developer's Manual", volume 3D, 39.15: CPUSVN, MISCSELECT, attributes (flags, XFRM), MRENCLAVE,
MRSIGNER, ISVPRODID, ISVSVN, REPORTDATA."""

_INIT: Final = 0x01
_DEBUG: Final = 0x02
_MODE64: Final = 0x04


def verify_sgx_quote(
    untrusted_quote: bytes, untrusted_collateral: bytes, root_der: bytes | None, now: int
) -> SgxReport:
    """Verify a quote against its collateral (JSON) at `now`, unix seconds.

    `root_der` None stands for Intel's root. Any TCB status but "Revoked" passes: what to make of it is policy.
    Raises `Untrusted` EVIDENCE.
    """
    quote = parse_quote(untrusted_quote)
    if quote.kind != "sgx":
        raise refuse("this is not an SGX quote of version 3")
    _, _, flags, _, measurement, signer, product_id, svn, report_data = _REPORT.unpack(quote.body)
    verdict = verify_quote(quote, untrusted_collateral, root_der, now)
    if flags & _DEBUG:
        raise refuse(DEBUG)
    if flags & (_INIT | _MODE64) != _INIT | _MODE64:
        raise refuse("the enclave's attributes are not those of an initialised 64-bit production enclave")
    return SgxReport(
        registers=(("MRENCLAVE", measurement),),
        report_data=report_data,
        root=verdict.root,
        proven_at=verdict.proven_at,
        valid_until=verdict.valid_until,
        signer=signer,
        product_id=product_id,
        svn=svn,
        intel=verdict.intel,
    )
