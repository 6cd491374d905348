"""TDX quotes of versions 4 and 5: from untrusted bytes to a verified report of a production TD.

`dcap-qvl` looks at most of the TD's attributes, in ways that change from version to version; each is checked here in
full. It never looks at XFAM or at the header's reserved fields, and under version 5 it calls a machine up to date whose
module was once, though the one that runs now is not.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final, NamedTuple

from strongroom.attestation.intel import DEBUG, Quote, Verdict, parse_quote, refuse, verify_quote
from strongroom.attestation.reports import IntelState, TdxReport

_REPORT_10: Final = struct.Struct("<16s48s48sQQQ48s48s48s48s48s48s48s48s64s")
_REPORT_15: Final = struct.Struct("<16s48s")
"""What version 1.5 appends: TEE_TCB_SVN_2, MRSERVICETD."""

_DEBUG: Final = 1 << 0
_UNDER_DEBUG: Final = 0xFF
"""Attributes as in Intel's "TDX Module ABI", ATTRIBUTES: bits 7:0 (TUD) open the TD to its host or to profilers."""
_SEPT_VE_DISABLE: Final = 1 << 28
_MIGRATABLE: Final = 1 << 29
_LASS: Final = 1 << 27
_PKS: Final = 1 << 30
_KEY_LOCKER: Final = 1 << 31
_PERFMON: Final = 1 << 63
_DEFINED: Final = _LASS | _SEPT_VE_DISABLE | _PKS | _KEY_LOCKER | _PERFMON
"""What a TD may have. Other bits are reserved, or let somebody else in (service TDs, provisioning agents)."""

_XFAM_ALWAYS: Final = 0x3
_XFAM_MAY: Final = 0x6DBE7
"""XFAM_FIXED1 and XFAM_FIXED0 of Intel's TDX module: a TD with other bits can't have been started by it."""
_AVX: Final = 1 << 2
_AVX_512: Final = 0b111 << 5
_CET: Final = 0b11 << 11
_AMX: Final = 0b11 << 17
_TOGETHER: Final = (_AVX_512, _CET, _AMX)
"""Features whose bits are on together or not at all (the same, XFAM)."""

_BEST_FIRST: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
)


class _Td(NamedTuple):
    """A TD report, in the order of its fields ("TDX DCAP Quoting Library API", A.3.2)."""

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: int
    attributes: int
    xfam: int
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    report_data: bytes


def verify_tdx_quote(
    untrusted_quote: bytes, untrusted_collateral: bytes, root_der: bytes | None, now: int
) -> TdxReport:
    """Verify a quote against its collateral (JSON) at `now`, unix seconds.

    `root_der` None stands for Intel's root. Any TCB status but "Revoked" passes: what to make of it is policy.
    Clouds hand quotes out in larger buffers: cut the padding off before, for a quote is exactly as long as it says.
    Raises `Untrusted` EVIDENCE.
    """
    quote = parse_quote(untrusted_quote)
    if quote.kind != "tdx":
        raise refuse("this is not a TDX quote of version 4 or 5")
    td = _Td._make(_REPORT_10.unpack_from(quote.body))
    # Before any signature, since the library's words for these are not plain: refusing on a liar's word does no harm.
    _verify_attributes(td.attributes)
    _verify_xfam(td.xfam)
    _verify_module(quote, td)
    verdict = verify_quote(quote, untrusted_collateral, root_der, now)
    return TdxReport(
        registers=(
            ("MRTD", td.mr_td),
            ("RTMR0", td.rtmr0),
            ("RTMR1", td.rtmr1),
            ("RTMR2", td.rtmr2),
            ("RTMR3", td.rtmr3),
        ),
        report_data=td.report_data,
        root=verdict.root,
        proven_at=verdict.proven_at,
        valid_until=verdict.valid_until,
        td_attributes=td.attributes,
        xfam=td.xfam,
        mr_seam=td.mr_seam,
        mr_config_id=td.mr_config_id,
        mr_owner=td.mr_owner,
        mr_owner_config=td.mr_owner_config,
        intel=_with_module(verdict),
    )


def _verify_attributes(attributes: int) -> None:
    if attributes & _DEBUG:
        raise refuse(DEBUG)
    if attributes & _UNDER_DEBUG:
        raise refuse("the TD is open to profiling, or to debugging of a kind unknown here")
    if not attributes & _SEPT_VE_DISABLE:
        # The host could take pages away and have the guest's own handler run at moments of its choosing.
        raise refuse("the TD lets its host inject exceptions into it (SEPT_VE_DISABLE is off)")
    if attributes & _MIGRATABLE:
        raise refuse("the TD may be moved to another machine, by a migration TD that nobody appraised")
    if attributes & ~_DEFINED:
        raise refuse("the TD has attributes that are reserved, or that let another TD in")


def _verify_xfam(xfam: int) -> None:
    legal = xfam & _XFAM_ALWAYS == _XFAM_ALWAYS and not xfam & ~_XFAM_MAY
    whole = all(xfam & group in (0, group) for group in _TOGETHER)
    if not legal or not whole or (xfam & _AVX_512 and not xfam & _AVX):
        raise refuse("the TD has a set of processor features (XFAM) that no TDX module allows")


def _verify_module(quote: Quote, td: _Td) -> None:
    if any(quote.header[8:12]):
        raise refuse("reserved fields of the quote's header are not zero")
    if any(td.mr_signer_seam) or td.seam_attributes:
        raise refuse("the TDX module is not a production module of Intel's")
    if quote.body[_REPORT_10.size :]:
        _, mr_service_td = _REPORT_15.unpack_from(quote.body, _REPORT_10.size)
        if any(mr_service_td):
            raise refuse("a service TD, which nobody appraised, is bound to the TD")


def _with_module(verdict: Verdict) -> IntelState:
    """The machine's state with the TDX module of the start and the one that runs now: of each value the worse one."""
    state, current = verdict.intel, verdict.current
    if current is None:
        return state
    if {state.tcb_status, current.status} - set(_BEST_FIRST):
        raise refuse("the TDX module has a status that is not known here")
    return replace(
        state,
        tcb_status=max(state.tcb_status, current.status, key=_BEST_FIRST.index),
        advisories=tuple(dict.fromkeys((*state.advisories, *current.advisories))),
        tcb_date=min(state.tcb_date, int(current.date.timestamp())),
    )
