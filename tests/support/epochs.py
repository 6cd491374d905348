"""What tests of epochs do again and again."""

import asyncio
import copy

from strongroom.enclave.vault.rows import epoch_of
from strongroom.protocol.authenticator_messages import AuthenticatorReply
from strongroom.protocol.cluster_messages import ClusterReply, Rotate
from strongroom.protocol.index import HEAD_KEY, RING_KEY
from strongroom.protocol.vault_messages import VaultReply
from tests.support.world import RawClient


async def owner_of(instance, key):
    """A session of the owner's, for what is asked about the cluster."""
    client = RawClient(instance, key)
    client.replies = (VaultReply if instance.role == "vault" else AuthenticatorReply) | ClusterReply
    return await client.open()


async def rotate(world):
    """The number of the epoch that begins."""
    return (await (await owner_of(world.vault, world.owner)).ask(Rotate())).epoch


def ring_of(instance):
    """The ring that a running enclave holds."""
    return instance.enclave._cluster._ring


def service_of(instance):
    return instance.enclave._door._service


async def at_rest(instance):
    """Until nothing is sealed anew any more, and old epochs are gone."""
    tending = instance.enclave._cluster.epochs._tending
    if tending is not None:
        await asyncio.wait_for(asyncio.shield(tending), 20)


def rows_of(instance):
    """Rows of the host that are sealed under an epoch, but the head."""
    return {key: row for key, row in instance.host.kept.items() if key not in (RING_KEY, HEAD_KEY)}


def epochs_in_use(instance):
    return {epoch_of(row.sealed) for row in [*rows_of(instance).values(), instance.host.rows[HEAD_KEY]]}


def snapshot(host):
    """Rows and log as they are now."""
    return dict(host.rows), copy.copy(host.log)


async def until(condition):
    """Let others have their turns until it is so."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")
