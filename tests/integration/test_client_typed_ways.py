"""What the SDK's users type in: passwords of a real directory, and codes that come by real mail (RULES 14)."""

import pytest

from strongroom import BadInput, Policy, Refused, Untrusted
from strongroom.client.methods import code_method, directory_method
from strongroom.client.results import Person
from strongroom.client.sign_in import CodeSignIn, Credentials, PasswordSignIn
from strongroom.protocol.errors import Number
from strongroom.protocol.messages import OfNamespace
from strongroom.protocol.sign_in_messages import CodeBegin
from strongroom.protocol.sign_in_messages import CodeSignIn as CodeMessage
from strongroom.protocol.sign_in_messages import PasswordSignIn as PasswordMessage
from tests.idp import slapd
from tests.support.evidence import changed
from tests.support.mailbox import Mailbox
from tests.support.served import SECRET, ServedWorld, number_of

BOB = "bob@example.com"


@pytest.fixture
async def served(tmp_path):
    async with ServedWorld.open(tmp_path / "state") as served:
        yield served


@pytest.fixture(scope="module")
def directory():
    with slapd.Slapd() as running:
        yield running


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as running:
        yield running


@pytest.fixture
def heard(served):
    """What the Authenticator is asked."""
    service = served.world.authenticator.enclave._door._service
    honest, heard = service.handle, []

    async def handle(caller, request):
        heard.append(request)
        return await honest(caller, request)

    service.handle = handle
    return heard


def in_slapd(running, **changes):
    fields = {"base": slapd.BASE, "flavour": "ldap", "user_dn": slapd.USER_DN, "certificates": running.ca}
    return directory_method("ldap.example.test", [running.ldaps], **fields | changes)


async def put(served, method, rules=None):
    """A record of alice for whoever signs in by this method."""
    rules = rules or Policy.anyone_signed_in(method).allow_phishable().may("collect")
    rules |= Policy.depositor_may("update", "delete")
    async with served.sdk("alice") as alice:
        encoded = served.instructions(rules, methods=[method, served.method])
        return (await alice.store(SECRET, namespace="team", instructions=encoded)).address


class User:
    """Somebody at the keyboard, who says yes to what they are shown, or not."""

    def __init__(self, user="alice", password=slapd.PASSWORD, *, says="yes"):
        self.credentials = Credentials(user, password)
        self.says = says
        self.shown = []
        self.asked = []

    async def approve(self, method):
        self.shown.append((method.kind, method.name, method.digest))
        if self.says != "yes":
            raise BadInput("not confirmed", "")

    async def ask(self, directory):
        self.asked.append(directory)
        return self.credentials

    def sdk(self, served, **options):
        return served.sdk(sign_in=PasswordSignIn(self.ask), approve=self.approve, **options)


# --- passwords ------------------------------------------------------------------------------------------------


@pytest.mark.needs("slapd")
async def test_somebody_signs_in_by_the_password_of_a_directory(served, directory):
    method = in_slapd(directory, groups=[slapd.group("engineers")], email_domains=["example.test"])
    engineers = Policy.members_of(slapd.group("engineers"), method=method).may("collect")
    address = await put(served, method, engineers)
    alice, people = User(), list[Person]()
    async with alice.sdk(served, signed_in=people.append) as vault:
        assert (await vault.collect(address)).secret == SECRET
        assert (await vault.collect(address)).secret == SECRET
    assert alice.asked == ["ldap.example.test"]
    assert [(one.issuer, one.email) for one in people] == [("ldap.example.test", "alice@example.test")]
    async with User("bob").sdk(served) as vault:
        assert await number_of(vault.collect(address)) is Number.REFUSED
    async with User("alice", "wrong").sdk(served) as vault:
        with pytest.raises(Refused, match="user name or password is wrong, or the account may not sign in") as caught:
            await vault.collect(address)
        assert caught.value.number is Number.SIGN_IN_REFUSED


@pytest.mark.needs("slapd")
async def test_a_password_is_asked_for_only_where_the_whole_definition_was_approved_of(served, directory, heard):
    method = in_slapd(directory)
    address = await put(served, method)
    heard.clear()
    user = User(says="no")
    async with user.sdk(served) as vault:
        with pytest.raises(BadInput, match="not confirmed"):
            await vault.collect(address)
    assert [one[:2] for one in user.shown] == [("directory", "ldap.example.test")]
    # The same name before other servers: a depositor may write any.
    other = await put(served, in_slapd(directory, groups=[slapd.group("staff")]))
    user = User()
    async with user.sdk(served) as vault:
        await vault.collect(address)
        user.says = "no"
        with pytest.raises(BadInput, match="not confirmed"):
            await vault.collect(other)
    assert len({digest for *_, digest in user.shown}) == 2
    assert len([one for one in heard if isinstance(one, PasswordMessage)]) == len(user.asked) == 1


@pytest.mark.needs("slapd")
async def test_neither_a_name_nor_a_namespace_stands_in_for_that_approval(served, directory):
    """`issuer` names a provider, whose page shows where it is; the name of a directory shows nothing."""
    method = in_slapd(directory)
    address = await put(served, method)
    user = User(says="no")
    async with user.sdk(served, issuer="ldap.example.test") as vault:
        with pytest.raises(BadInput, match="not confirmed"):
            await vault.collect(address)
    everybody = Policy.namespace(create=Policy.anyone_signed_in(method))
    limits = dict.fromkeys(("max_records", "max_bytes", "max_records_per_identity", "max_bytes_per_identity"), 9)
    async with served.sdk(binding_key=served.world.owner) as owner:
        theirs = served.instructions(everybody, methods=[method], permanent=True)
        await owner.create_namespace("theirs", instructions=theirs, **limits)
    async with user.sdk(served) as vault:
        with pytest.raises(BadInput, match="not confirmed"):
            await vault.sign_in(OfNamespace(namespace="theirs"))
    async with served.sdk(sign_in=PasswordSignIn(user.ask)) as vault:
        with pytest.raises(BadInput, match=r"nobody has approved of user name and password of ldap.example.test"):
            await vault.collect(address)
    assert user.asked == []


@pytest.mark.needs("slapd")
async def test_no_password_is_asked_for_before_the_authenticator_is_known(served, directory):
    address = await put(served, in_slapd(directory))
    distrust = changed(served.trust, authenticator=changed(served.trust.authenticator, clusters=[bytes(32)]))
    user = User()
    async with user.sdk(served, trust=distrust) as vault:
        with pytest.raises(Untrusted, match="is not one that the policy names"):
            await vault.collect(address)
    assert (user.shown, user.asked) == ([], [])


@pytest.mark.needs("slapd")
@pytest.mark.parametrize(
    ("user", "password", "words"),
    [("alice", "", "empty"), ("", "x", "empty"), ("alice", "x" * 1025, "too long"), ("a" * 257, "x", "too long")],
)
async def test_an_empty_password_never_leaves_this_machine(served, directory, heard, user, password, words):
    """A directory says yes to an empty one, as to nobody in particular."""
    address = await put(served, in_slapd(directory))
    async with User(user, password).sdk(served) as vault:
        with pytest.raises(BadInput, match=words):
            await vault.collect(address)
    assert not [one for one in heard if isinstance(one, PasswordMessage)]


def test_a_password_does_not_show():
    assert "secret" not in repr(Credentials("alice", "secret"))


# --- codes ----------------------------------------------------------------------------------------------------


def by_mail(mailbox, *, addresses=(BOB,)):
    return code_method("keys@example.com", mailbox.url, addresses=addresses, certificates=mailbox.certificates)


class Reader:
    """Somebody who reads a mailbox, after some codes that they make up."""

    def __init__(self, mailbox, email=BOB, *, first=()):
        self.mailbox = mailbox
        self.email = email
        self.before = mailbox.count(email)
        self.first = list(first)
        self.sent = []
        self.shown = []

    async def ask_email(self, sender):
        assert sender == "keys@example.com"
        return self.email.upper()

    async def ask_code(self, sent):
        self.sent.append(sent)
        if self.first:
            return self.first.pop(0)
        code = self.mailbox.code(self.email, self.before + 1)
        return f" {code[:4]} {code[4:]}\n"

    async def approve(self, method):
        self.shown.append((method.kind, method.name))

    def sdk(self, served, **options):
        return served.sdk(sign_in=CodeSignIn(self.ask_email, self.ask_code), approve=self.approve, **options)


async def test_somebody_signs_in_by_a_code_that_comes_by_mail(served, mailbox):
    address = await put(served, by_mail(mailbox))
    bob, people = Reader(mailbox), list[Person]()
    async with bob.sdk(served, signed_in=people.append) as vault:
        assert (await vault.collect(address)).secret == SECRET
    assert bob.shown == [("email-code", "keys@example.com")]
    assert [(one.issuer, one.email) for one in people] == [("keys@example.com", BOB)]
    assert [(one.email, one.sender, one.tries_left) for one in bob.sent] == [(BOB, "keys@example.com", 5)]


async def test_a_code_with_a_slip_of_the_finger_is_asked_for_again(served, mailbox, heard):
    address = await put(served, by_mail(mailbox))
    bob = Reader(mailbox, first=["1234", "00000000"])
    async with bob.sdk(served) as vault:
        assert (await vault.collect(address)).secret == SECRET
    assert [one.tries_left for one in bob.sent] == [5, 4, 3]
    assert len([one for one in heard if isinstance(one, CodeMessage)]) == 2  # "1234" can't be one


async def test_after_five_tries_it_is_over(served, mailbox):
    address = await put(served, by_mail(mailbox))
    bob = Reader(mailbox, first=["0" * 7 + str(at) for at in range(9)])
    async with bob.sdk(served) as vault:
        with pytest.raises(Refused) as caught:
            await vault.collect(address)
    assert caught.value.number is Number.SIGN_IN_REFUSED
    assert len(bob.sent) == 5


async def test_who_is_not_on_the_list_is_not_told_so(served, mailbox):
    address = await put(served, by_mail(mailbox))
    mallory = Reader(mailbox, "mallory@example.com", first=["0" * 8] * 5)
    async with mallory.sdk(served) as vault:
        assert await number_of(vault.collect(address)) is Number.SIGN_IN_REFUSED
    assert mallory.sent
    assert mailbox.count("mallory@example.com") == 0


@pytest.mark.parametrize("email", ["bob", "", "b\u00f6b@example.com", "x" * 250 + "@example.com"])
async def test_what_is_no_address_goes_nowhere(served, mailbox, heard, email):
    address = await put(served, by_mail(mailbox))
    async with Reader(mailbox, email).sdk(served) as vault:
        with pytest.raises(BadInput, match="is not an e-mail address"):
            await vault.collect(address)
    assert not [one for one in heard if isinstance(one, CodeBegin)]


async def test_codes_come_from_no_server_that_nobody_approved_of(served, mailbox, heard):
    """Whoever asks for one tells that server an address."""
    address = await put(served, by_mail(mailbox))
    bob = Reader(mailbox)
    async with served.sdk(sign_in=CodeSignIn(bob.ask_email, bob.ask_code)) as vault:
        with pytest.raises(BadInput, match=r"nobody has approved of a code by e-mail from keys@example.com"):
            await vault.collect(address)
    assert not [one for one in heard if isinstance(one, CodeBegin)]
