"""One Authenticator of a quorum in wrong hands: what it calls people gives nobody a right, and takes none away."""

import os
from types import SimpleNamespace

import pytest

from strongroom.client.quorum import two_of
from strongroom.enclave.authenticator import build_authenticator
from strongroom.enclave.platform.measurement import measure
from strongroom.enclave.vault.cases import DAY
from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.facts import fact
from strongroom.protocol.instructions import AuthenticatorRef, method_digest, parse_method
from strongroom.protocol.limits import FREE_ATTEMPTS
from strongroom.protocol.messages import ByPerson, Person
from strongroom.protocol.vault_messages import CreateNamespace, Item
from tests.support import policies
from tests.support.evidence import changed
from tests.support.people import KEYS, signed_in
from tests.support.vault import SECRET, approve, ask, collect_error, fresh, number_of, person, questions, terms
from tests.support.world import AUTHENTICATOR_URL, METHOD, Instance, RawClient, permit

NOBODY = Person(principal="", email="")
OIDC = parse_method(METHOD)
BAD, THIRD = "http://bad.test", "http://third.test"
ALL = permit("collect", "update", "delete", "fill", "audit")


def by_oidc(who, email=None):
    return changed(
        fact(method_digest(METHOD), "oidc", who),
        email=f"{who}@example.com" if email is None else email,
        channel="native",
    )


async def another(world, url):
    """A further Authenticator: its way in, and how instructions refer to it."""
    instance = Instance("authenticator", world.vault.state, build_authenticator, world.owner.public)

    async def handle(operation, body):
        return await instance.enclave.handle(operation, body)

    world.vault.host.routes[url] = handle
    await instance.start()
    program = policies.software(roots=list(instance.platform.roots), measurements=[measure("authenticator")])
    cluster = parse_evidence(await instance.evidence())[1].cluster_id
    policy = encode(policies.role(clusters=[cluster], insecure_software=program))
    return instance, AuthenticatorRef(url=url, policy=policy)


@pytest.fixture
async def quorum(world):
    """Instructions that want two Authenticators, of which the first named is in wrong hands; their tickets."""
    (bad, first), (third, last) = await another(world, BAD), await another(world, THIRD)
    honest = AuthenticatorRef(url=AUTHENTICATOR_URL, policy=encode(world.policy()))

    def instructions(rules, places=(first, honest), **changes):
        return world.instructions(rules, authenticators=list(places), quorum=2, **changes)

    def tickets(client, *, bad_says=None, honest_says=None, third_says=None):
        said = ((bad, bad_says), (world.authenticator, honest_says), (third, third_says))
        return [_ticket(world, instance, client.binding, one) for instance, one in said if one is not None]

    async def client(who, bad_says=None):
        """Whom the honest one knows as `who`, and the one in wrong hands calls something else."""
        one = await world.client()
        one.tickets = tickets(one, bad_says=by_oidc(bad_says or who), honest_says=by_oidc(who))
        return one

    def turn_clocks(seconds):
        for instance in (world.vault, world.authenticator, bad, third):
            instance.platform.ahead += seconds

    return SimpleNamespace(
        instructions=instructions, tickets=tickets, client=client, all=(first, honest, last), turn_clocks=turn_clocks
    )


def _ticket(world, instance, binding, said):
    now = int(instance.platform.now())
    return instance.enclave._door._service._sealer.issue_ticket(binding.public, world.vault_cluster, said, now)[0]


async def test_one_authenticator_of_a_quorum_exempts_nobody_from_a_records_terms(world, quorum):
    address, alice = fresh(), await quorum.client("alice")
    await alice.store(address, SECRET, quorum.instructions(ALL), terms=terms(max_opens=1, fillable=True))
    mallory = await quorum.client("mallory", bad_says="alice")
    assert isinstance((await mallory.collect(address))[0], Item)
    assert await collect_error(mallory, address) is Number.OPENED_OUT
    await alice.update(address, 1, terms=terms(max_opens=1, fillable=True, closed=True))
    assert await collect_error(mallory, address) is Number.CLOSED
    assert await number_of(mallory.fill(address, 2, b"mine")) is Number.CLOSED
    (item,) = await alice.collect(address)
    assert item.secret == SECRET, "her own terms bind her not, as both know her"


async def namespace(world, quorum):
    owner = RawClient(world.vault, world.owner)
    await owner.open()
    await owner.ask(
        CreateNamespace(
            request_id=os.urandom(16),
            namespace="two",
            replaces=0,
            instructions=quorum.instructions(permit("create", "describe"), permanent=True),
            max_records=100,
            max_bytes=10**6,
            max_records_per_identity=100,
            max_bytes_per_identity=10**6,
        )
    )


async def test_one_authenticator_of_a_quorum_makes_nobody_the_author_of_what_another_wrote(world, quorum):
    await namespace(world, quorum)
    mallory, bob = await quorum.client("mallory", bad_says="ceo"), await quorum.client("bob")
    address, own = fresh(), fresh()
    await mallory.store(address, b"pay this", quorum.instructions(ALL), namespace="two", terms=terms())
    assert (await bob.collect(address))[0].author == NOBODY
    await bob.update(address, 1, secret=b"mine")
    assert (await mallory.collect(address))[0].author == person("bob"), "as both know him"
    await mallory.update(address, 2, secret=b"pay this")
    assert (await bob.collect(address))[0].author == NOBODY
    await bob.store(own, SECRET, quorum.instructions(ALL), namespace="two")
    assert (await bob.collect(own))[0].author == person("bob")


async def test_who_opened_by_the_journal_is_no_name_that_the_quorum_contradicts(world, quorum):
    address, alice = fresh(), await quorum.client("alice")
    instructions = quorum.instructions(ALL, places=quorum.all)
    await alice.store(address, SECRET, instructions, terms=terms())
    mallory = await world.client()
    known, ceo = by_oidc("mallory"), by_oidc("ceo")
    mallory.tickets = quorum.tickets(mallory, bad_says=ceo, honest_says=known, third_says=known)
    await mallory.collect(address)
    visits = (await alice.history(address)).visits
    assert [one.person for one in visits if one.action == "collect"] == [person("mallory")]


async def test_one_authenticator_of_a_quorum_opens_nobodys_own_address_to_another(world, quorum):
    await namespace(world, quorum)
    own = ByPerson(namespace="two", person=person("bob").principal, name="inbox")
    mallory, bob = await quorum.client("mallory", bad_says="bob"), await quorum.client("bob")
    instructions = quorum.instructions(ALL)
    assert await number_of(mallory.store(own, b"fake", instructions, namespace="two")) is Number.REFUSED
    await bob.store(own, SECRET, instructions, namespace="two")


BOARD = two_of([[(OIDC, name), (KEYS, name)] for name in ("bob", "carol")])


async def test_one_authenticator_of_a_quorum_makes_up_no_approver_for_the_others(world, quorum):
    """bob approves of his own question by his key; the one in wrong hands says that it was carol."""
    rules = BOARD.may_when_approved("collect").cedar + permit("update", "delete", email="alice@example.com")
    address, alice, bob = fresh(), await quorum.client("alice"), await quorum.client("bob")
    await alice.store(address, SECRET, quorum.instructions(rules, methods=[METHOD, encode(KEYS)]))
    question = (await ask(bob, address)).question
    second = await world.client()
    by_key = changed(signed_in(KEYS, "bob"), email="")
    second.tickets = quorum.tickets(second, bad_says=by_oidc("carol"), honest_says=by_key)
    await approve(second, address, question)
    assert await collect_error(bob, address) is Number.REFUSED
    question = (await ask(bob, address)).question
    await approve(await quorum.client("carol"), address, question)
    assert (await bob.collect(address))[0].secret == SECRET


RULES = (
    "permit(principal, action, resource) when { context.record.approval_count >= 1 };\n"
    + permit("ask", "approve")
    + permit("update", "delete", email="alice@example.com")
)


async def asked(quorum):
    address, alice, bob = fresh(), await quorum.client("alice"), await quorum.client("bob")
    await alice.store(address, SECRET, quorum.instructions(RULES))
    return address, bob, (await ask(bob, address)).question


async def test_an_approver_is_shown_no_name_that_one_authenticator_made_up(world, quorum):
    address, _, _ = await asked(quorum)
    mallory, carol = await quorum.client("mallory", bad_says="ceo"), await quorum.client("carol")
    question = (await ask(mallory, address)).question
    await approve(await quorum.client("dave", bad_says="chair"), address, question)
    first, second = await questions(carol, address)
    assert (first.person, first.approvals) == (person("bob"), [])
    assert (second.person, second.approvals) == (NOBODY, [NOBODY])


async def test_one_authenticator_of_a_quorum_drives_out_nobodys_question(world, quorum):
    address, bob, question = await asked(quorum)
    await ask(await quorum.client("mallory", bad_says="bob"), address)
    await approve(await quorum.client("carol"), address, question)
    assert (await bob.collect(address))[0].secret == SECRET


async def test_approvals_count_for_nobody_whom_one_authenticator_calls_by_the_askers_name(world, quorum):
    """The same binding key, and two people behind it."""
    address, bob, question = await asked(quorum)
    await approve(await quorum.client("carol"), address, question)
    mine = bob.tickets
    bob.tickets = quorum.tickets(bob, bad_says=by_oidc("bob"), honest_says=by_oidc("mallory"))
    assert await collect_error(bob, address) is Number.REFUSED
    bob.tickets = mine
    assert (await bob.collect(address))[0].secret == SECRET


async def test_one_authenticator_of_a_quorum_locks_nobody_out_by_naming_them(world, quorum):
    rules = permit("collect", "update", "delete", email="alice@example.com")
    address, alice, mallory = fresh(), await world.client(), await world.client()
    known = by_oidc("alice")
    alice.tickets = quorum.tickets(alice, bad_says=known, honest_says=known, third_says=known)
    await alice.store(address, SECRET, quorum.instructions(rules, places=quorum.all))
    them = by_oidc("mallory")
    mallory.tickets = quorum.tickets(mallory, bad_says=by_oidc("alice", email=""), honest_says=them, third_says=them)
    for _ in range(FREE_ATTEMPTS + 5):
        assert await collect_error(mallory, address) is Number.REFUSED
    assert (await alice.collect(address))[0].secret == SECRET
    alice.tickets = quorum.tickets(alice, bad_says=known, honest_says=known)
    assert await collect_error(alice, address) is Number.THROTTLED, "on the word of the one, which she can do without"
    alice.tickets = quorum.tickets(alice, honest_says=known, third_says=known)
    assert (await alice.collect(address))[0].secret == SECRET


async def test_one_authenticator_lets_no_deputy_in_by_calling_the_owner_something_else(world, quorum):
    idle = "context.record has idle_days && context.record.idle_days >= 3"
    rules = permit("collect", "update", "delete", email="alice@example.com") + (
        f'permit(principal, action == Action::"collect", resource) when {{ {idle} }};\n'
    )
    address, alice = fresh(), await quorum.client("alice")
    await alice.store(address, SECRET, quorum.instructions(rules))
    quorum.turn_clocks(2 * DAY)
    alice = await world.client()
    alice.tickets = quorum.tickets(
        alice, bad_says=by_oidc("x", email="alice@example.com"), honest_says=by_oidc("alice")
    )
    assert isinstance((await alice.collect(address))[0], Item)
    quorum.turn_clocks(2 * DAY)
    assert await collect_error(await quorum.client("bob"), address) is Number.REFUSED
    quorum.turn_clocks(2 * DAY)
    assert isinstance((await (await quorum.client("bob")).collect(address))[0], Item)


async def test_an_authenticator_that_is_away_is_not_a_ticket_that_is_missing(world, quorum):
    address, alice = fresh(), await quorum.client("alice")
    await alice.store(address, SECRET, quorum.instructions(ALL))
    route = world.vault.host.routes.pop(BAD)
    assert await collect_error(alice, address) is Number.AUTHENTICATOR_UNAVAILABLE
    world.vault.host.routes[BAD] = route
    both = alice.tickets
    alice.tickets = both[:1]
    assert await collect_error(alice, address) is Number.TICKET_MISSING
    alice.tickets = both
    assert (await alice.collect(address))[0].secret == SECRET
