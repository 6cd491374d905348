"""On the real thing: what the machine quotes is what a verifier accepts, and its sealing key is always the same.

Each runs inside the enclave or guest itself, and asks Intel's or AMD's service for collateral.
"""

import os
import time

import pytest

from strongroom.attestation.verification import verify_quote
from strongroom.enclave.platform.gramine import Gramine
from strongroom.enclave.platform.nitro import Nitro
from strongroom.enclave.platform.snp import Snp
from strongroom.enclave.platform.tdx import Tdx
from strongroom.host.collateral.service import CollateralService


async def quoted_and_verified(platform, cache):
    report_data = os.urandom(64)
    quoted = platform.quote(report_data)
    collateral = quoted.collateral
    if collateral is None:
        service = CollateralService((), cache)
        try:
            collateral = await service.fetch(platform.kind, quoted.quote)
        finally:
            await service.close()
    report = verify_quote(
        platform.kind, quoted.quote, collateral, platforms=(platform.kind,), insecure_roots=(), now=int(time.time())
    )
    assert report.report_data == report_data
    assert any(report.measurement)
    return report


def has_a_lasting_sealing_key(platform, again):
    sealing = platform.sealing_key()
    assert len(sealing.key) == 32
    assert sealing == again.sealing_key()


@pytest.mark.needs("sgx")
async def test_sgx_under_gramine(tmp_path):
    report = await quoted_and_verified(Gramine("vault"), tmp_path)
    has_a_lasting_sealing_key(Gramine("vault"), Gramine("vault"))
    assert report.measurement.hex() in Gramine("vault").sealing_key().label


@pytest.mark.needs("tdx")
async def test_tdx(tmp_path):
    await quoted_and_verified(Tdx(), tmp_path)


@pytest.mark.needs("snp")
async def test_sev_snp(tmp_path):
    report = await quoted_and_verified(Snp(), tmp_path)
    has_a_lasting_sealing_key(Snp(), Snp())
    assert report.measurement.hex() in Snp().sealing_key().label


@pytest.mark.needs("nitro")
async def test_nitro(tmp_path):
    await quoted_and_verified(Nitro.open(), tmp_path)
