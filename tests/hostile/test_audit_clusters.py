"""What auditors find of real Vaults whose ring has lived: rotations, councils, releases, recoveries that went back."""

import time

import pytest

from strongroom.client.audit.log import Audit, found
from strongroom.enclave.runtime import recovering
from strongroom.enclave.runtime.sealed_ring import charter_of, parse_sealed
from strongroom.enclave.vault import witnessing
from strongroom.protocol.cluster_messages import Publish
from strongroom.protocol.codec import encode
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.index import RING_KEY
from strongroom.protocol.link import Operation
from tests.support.ceremony import Custodians, convene, talk
from tests.support.ceremony import found as found_cluster
from tests.support.epochs import at_rest, rotate
from tests.support.logs import Shown, findings, states
from tests.support.recovering import Cluster
from tests.support.releases import NEW, listing, own, release, signed
from tests.support.ssh_keys import SshKey
from tests.support.vault import stored


async def audited(instance, since=(), *, charter=True):
    """By somebody who has the host's log, its ring's row and the id of the cluster."""
    row = charter_of(parse_sealed(instance.host.rows[RING_KEY].sealed))
    genesis = row.genesis.statement
    note = await instance.enclave.handle(Operation.CHECKPOINT, b"")
    looking = Audit(
        found(genesis, [cluster_id(genesis)]), now=int(time.time()), charter=encode(row) if charter else None
    )
    return await looking.run(Shown(instance.host.log), note=note, since=since)


def told(report):
    return [(one.event, one.number) for one in report.facts.newest]


async def test_a_vault_that_rotated_holds(world):
    await stored(world)
    await rotate(world)
    await at_rest(world.vault)
    report = await audited(world.vault)
    assert not report.failed
    assert told(report) == [("rotated", 2), ("erased", 2)]
    assert states(report)["governance"] == "holds"


async def test_a_vault_with_councils_and_releases_holds_and_an_older_charter_does_not(tmp_path):
    key = SshKey()
    founded = await found_cluster(tmp_path, approvers=[key.public_key], approvals=1)
    instance = founded.instance
    before = instance.host.rows[RING_KEY]
    first = listing(founded.cluster_id, 1, release("1", own(founded)), release("2", NEW, svn=2))
    await (await talk(instance)).ask(Publish(releases=signed(first, [key])))
    await (await talk(instance)).ask(Publish(releases=signed(listing(founded.cluster_id, 2, first.releases[0]), [key])))
    await at_rest(instance)
    people = Custodians.named(2)
    client = await talk(instance, founded.owner)
    convened = await client.ask(convene(people, 2))
    people.receive(convened)
    for index in range(2):
        await client.ask(people.acceptance(index, convened.statement))
        await client.ask(founded.custodians.endorsement(index, convened.statement))
    report = await audited(instance)
    assert not report.failed
    assert told(report)[:3] == [("released", 1), ("released", 2), ("rotated", 2)]
    assert ("governed", 1) in told(report)
    instance.host.rows[RING_KEY] = before
    report = await audited(instance)
    assert [check.name for check in report.failed] == ["governance"]


@pytest.fixture
async def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(witnessing, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(recovering, "RETRY_SECONDS", 0.01)
    cluster = Cluster(tmp_path, witnesses=3)
    await cluster.start()
    await cluster.namespace()
    yield cluster
    cluster.close()


async def test_a_vault_that_was_recovered_on_an_older_database_holds_and_says_what_was_given_up(cluster):
    await stored(cluster)
    backup = cluster.database
    kept = await cluster.vault.enclave.handle(Operation.CHECKPOINT, b"")
    await stored(cluster)
    lost = await cluster.vault.enclave.handle(Operation.CHECKPOINT, b"")
    machine = await cluster.recovering(backup)
    await cluster.bring_back(machine)
    report = await audited(machine, since=[kept, lost])
    assert not report.failed, report.failed
    assert told(report) == [("recovered", 1)]
    assert f"went back to leaf {len(backup[1])}" in findings(report, "generations")
    assert "custodians gave them up" in findings(report, "since")
    assert "no charter here says" in findings(await audited(machine, charter=False), "generations")


async def test_a_vault_that_was_recovered_on_its_newest_database_holds(cluster):
    await stored(cluster)
    machine = await cluster.recovering()
    await cluster.bring_back(machine)
    report = await audited(machine)
    assert not report.failed, report.failed
    assert told(report) == [("recovered", 1)]
    assert states(report)["generations"] == states(report)["governance"] == "holds"
