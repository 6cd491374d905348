"""The Vault: keeps sealed records and releases them on the word of Authenticators."""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock
from strongroom.enclave.runtime.identity import Identity
from strongroom.enclave.runtime.link import HostLink
from strongroom.enclave.runtime.peers import Peers
from strongroom.enclave.runtime.ring import Ring
from strongroom.enclave.vault.approvals import Approvals
from strongroom.enclave.vault.cases import Cases
from strongroom.enclave.vault.counters import Counters
from strongroom.enclave.vault.decisions import Decider
from strongroom.enclave.vault.deposit import Deposit
from strongroom.enclave.vault.gate import Gate
from strongroom.enclave.vault.intake import Intake
from strongroom.enclave.vault.ledger import Ledger
from strongroom.enclave.vault.log import Log
from strongroom.enclave.vault.quotas import Quotas
from strongroom.enclave.vault.records import Handles
from strongroom.enclave.vault.release import Release
from strongroom.enclave.vault.resealing import Resealing
from strongroom.enclave.vault.revision import Revision
from strongroom.enclave.vault.rows import RowSealer
from strongroom.enclave.vault.service import VaultService
from strongroom.enclave.vault.shelf import Shelf
from strongroom.enclave.vault.statements import Statements
from strongroom.enclave.vault.trails import Trails
from strongroom.enclave.vault.witnessed import WitnessedTime
from strongroom.enclave.vault.witnessing import Witnessing
from strongroom.enclave.vault.writer import Writer


def build_vault(
    platform: Platform, clock: Clock, ring: Ring, identity: Identity, link: HostLink, config: Mapping[str, str]
) -> VaultService:
    """Wire the Vault's parts together. Every value of `config` is a claim already; the Vault itself reads none."""
    handles = Handles(ring.handle_key)
    sealer = RowSealer(platform, ring)
    witnessing = Witnessing(clock, ring.watching, link.cosign)
    ledger = Ledger(clock, sealer, link, ring, Log(platform, clock, ring, sealer), witnessing)
    shelf = Shelf(sealer, handles, ledger)
    counters = Counters(sealer, ledger, witnessing)
    writer = Writer(counters, ledger, witnessing)
    peers = Peers(platform, clock, identity, link.post)
    witnessed = WitnessedTime(platform, clock, witnessing)
    cases = Cases(clock, witnessed, shelf, counters)
    quotas = Quotas(handles, shelf)
    gate = Gate(clock, Decider(platform, clock, peers, ring.cluster_id), cases, shelf, counters, writer, quotas)
    release = Release(peers, shelf, writer, gate)
    intake = Intake(clock, witnessed, peers)
    deposit = Deposit(clock, ring.statement.owner_key, shelf, writer, gate, intake, quotas)
    revision = Revision(clock, ring, shelf, writer, gate, intake, quotas)
    statements = Statements(ring.cluster_key, shelf, writer, gate)
    approvals = Approvals(platform, clock, shelf, counters, writer, gate)
    trails = Trails(link, ledger, witnessing, gate)
    resealing = Resealing(ring, sealer, ledger, witnessing)
    return VaultService(ledger, witnessing, release, deposit, revision, statements, approvals, trails, resealing)
