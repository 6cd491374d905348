"""A workload that collects its key by its quote, against a real Vault and a real Authenticator."""

import pytest

from strongroom import Refused, Untrusted
from strongroom.client.errors import BadInput
from strongroom.client.methods import enclave_method
from strongroom.client.policy import Policy
from strongroom.client.results import Person
from strongroom.client.sign_in.enclaves import EnclaveSignIn, Quote
from strongroom.enclave.platform.insecure_software import InsecureSoftware
from strongroom.protocol.errors import Number
from tests.support import policies
from tests.support.served import ServedWorld


class Workload:
    """A program on a machine of its own, of the platform without hardware."""

    def __init__(self, state) -> None:
        self.machine = InsecureSoftware("vault", state)
        self.asked: list[bytes] = []

    async def quote(self, report_data: bytes) -> Quote:
        self.asked.append(report_data)
        quoted = self.machine.quote(report_data)
        assert quoted.collateral is not None
        return Quote(self.machine.kind, quoted.quote, quoted.collateral)

    @property
    def policy(self):
        section = policies.software(roots=list(self.machine.roots), measurements=[self.machine._measurement])
        return policies.role(insecure_software=section)


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


async def put(served, method):
    rules = Policy.person(method, "trainer").may("collect") | Policy.depositor_may("update", "delete")
    async with served.sdk("alice") as alice:
        instructions = served.instructions(rules, methods=[served.method, method])
        return (await alice.store(b"the key of the data", namespace="team", instructions=instructions)).address


async def test_a_key_is_released_to_the_code_that_its_owner_named(served, tmp_path):
    workload = Workload(tmp_path / "workload")
    address = await put(served, enclave_method({"trainer": workload.policy}))
    people: list[Person] = []
    async with served.sdk(sign_in=EnclaveSignIn(workload), signed_in=people.append) as vault:
        assert (await vault.collect(address)).secret == b"the key of the data"
    assert [person.subject for person in people] == ["trainer"]
    (report_data,) = workload.asked
    assert (len(report_data), report_data[32:]) == (64, bytes(32))


async def test_another_machine_gets_nothing(served, tmp_path):
    workload, other = Workload(tmp_path / "workload"), Workload(tmp_path / "other")
    address = await put(served, enclave_method({"trainer": workload.policy}))
    async with served.sdk(sign_in=EnclaveSignIn(other)) as vault:
        with pytest.raises(Untrusted) as caught:
            await vault.collect(address)
    assert caught.value.number is Number.POLICY


async def test_a_workload_of_another_name_gets_nothing(served, tmp_path):
    workload, other = Workload(tmp_path / "workload"), Workload(tmp_path / "other")
    address = await put(served, enclave_method({"trainer": workload.policy, "tester": other.policy}))
    async with served.sdk(sign_in=EnclaveSignIn(other)) as vault:
        with pytest.raises(Refused) as caught:
            await vault.collect(address)
    assert caught.value.number is Number.REFUSED


async def test_a_workload_that_quotes_for_somebody_elses_session_is_of_no_use_to_them(served, tmp_path):
    """The host carries a challenge of its own client to the workload's device, and the quote back: the workload asks
    for quotes over challenges of its own session only, so the host has but quotes of those."""
    workload = Workload(tmp_path / "workload")
    address = await put(served, enclave_method({"trainer": workload.policy}))
    async with served.sdk(sign_in=EnclaveSignIn(workload)) as vault:
        await vault.collect(address)

    class Replayed:
        async def quote(self, report_data: bytes) -> Quote:
            return await workload.quote(workload.asked[0])

    async with served.sdk(sign_in=EnclaveSignIn(Replayed())) as vault:
        with pytest.raises(Untrusted) as caught:
            await vault.collect(address)
    assert caught.value.number is Number.EVIDENCE


async def test_who_is_no_enclave_is_told_what_it_takes(served, tmp_path):
    method = enclave_method({"trainer": Workload(tmp_path / "workload").policy})
    rules = Policy.person(method, "trainer").may("collect", "update", "delete")
    async with served.sdk("alice") as alice:
        stored = await alice.store(b"x", namespace="team", instructions=served.instructions(rules, methods=[method]))
    async with served.sdk("bob") as bob:
        with pytest.raises(BadInput, match="no sign-in method suits") as caught:
            await bob.collect(stored.address)
    assert "the quote of an enclave: trainer" in caught.value.hint
