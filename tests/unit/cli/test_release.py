"""`strongroom release`: a cluster's charter counts for the cluster that was appraised, and for no other."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.client.cluster import ask_charter
from strongroom.client.errors import BadInput
from strongroom.client.releases import propose, verify_names_running, verify_publishable
from strongroom.enclave.runtime.genesis import new_charter
from strongroom.protocol.cluster_messages import CharterIs
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Untrusted
from strongroom.protocol.evidence import cluster_id
from strongroom.protocol.governance import SignedGenesis
from tests.support.councils import council
from tests.support.evidence import MEASUREMENT, Cluster, changed
from tests.support.releases import release
from tests.support.seen import genuine
from tests.support.ssh_keys import SshKey

KEY = SshKey()
COUNCIL = council(approvers=[KEY.public_key], approvals=1)
GENESIS = Cluster("vault", council=COUNCIL).genesis
CHARTER = new_charter(SignedGenesis(GENESIS, []))


def appraised(cluster):
    """What an enclave of this cluster was accepted as."""
    seen = genuine("insecure-software")
    return SimpleNamespace(genuine=replace(seen, claims=changed(seen.claims, cluster_id=cluster)))


class Session:
    """With an enclave of this cluster, which shows the charter."""

    def __init__(self, cluster):
        self.claims = appraised(cluster).genuine.claims

    async def ask(self, request, kind):
        return CharterIs(charter=encode(CHARTER), pending=b"")


async def test_the_charter_of_another_cluster_is_refused():
    """An enclave of one cluster that shows who governs another one."""
    own: Any = Session(cluster_id(GENESIS))
    assert (await ask_charter(own)).council == COUNCIL
    other: Any = Session(bytes(32))
    with pytest.raises(Untrusted, match="another cluster's"):
        await ask_charter(other)


def test_a_list_is_published_to_its_own_cluster_only():
    proposal = propose(CHARTER, COUNCIL, "vault", add=[release("1", MEASUREMENT)])
    with pytest.raises(BadInput, match="another cluster's"):
        verify_publishable(proposal, CHARTER, COUNCIL, appraised(bytes(32)).genuine)
    # Its own would look further, at what is missing.
    with pytest.raises(BadInput, match="0 approvals of the 1"):
        verify_publishable(proposal, CHARTER, COUNCIL, appraised(cluster_id(GENESIS)).genuine)


def test_a_list_without_the_program_that_runs_is_not_proposed():
    proposal = propose(CHARTER, COUNCIL, "vault", add=[release("1", bytes(32))])
    with pytest.raises(BadInput, match="leaves out the program that runs now"):
        verify_names_running(proposal, appraised(cluster_id(GENESIS)).genuine)
