"""The options for signing in, what they stand for, and where a command's user is asked first (RULES 14)."""

import getpass
import io
from dataclasses import replace
from typing import Any

import pytest
import typer

from strongroom.attestation.policy import TrustPolicy
from strongroom.cli import connection, signing_in
from strongroom.cli.main import build_app
from strongroom.cli.providers import Providers
from strongroom.cli.settings import Settings
from strongroom.cli.signing_in import UNASKED, Login, explained, signs_in
from strongroom.cli.terminal import Failure
from strongroom.client.methods import (
    code_method,
    directory_method,
    enclave_method,
    keys_method,
    oidc_method,
    passkey_method,
    workload_method,
)
from strongroom.client.policy import Policy, instructions
from strongroom.client.results import Method
from strongroom.client.sign_in import (
    BrowserSignIn,
    CodeSent,
    CodeSignIn,
    KeySignIn,
    NoWay,
    PasswordSignIn,
    PrintingDeviceSignIn,
    PrintingSignIn,
    TokenSignIn,
)
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import AuthenticatorRef, Passkey, method_digest
from tests.support import policies
from tests.support.evidence import Cluster

ROLE = Cluster("authenticator").policy()
TRUST = TrustPolicy(
    version=1, name="insecure test", vault=Cluster("vault").policy(), authenticator=ROLE, witnesses=[], cosignatures=0
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFFWv5Cd2GhVIJfBGPPvmN+tSuiu6LcQQlmzNvNu3BUh"
OIDC = oidc_method("https://login.example.com", "c")
DIRECTORY = directory_method("ad.example.com", ["ldaps://dc1.example.com"], base="DC=example,DC=com")
CODES = code_method("keys@example.com", "smtps://mail.example.com", domains=["example.com"])
PASSKEYS = passkey_method(
    "share.test", ["https://share.test"], [Passkey(person="bob@example.com", credential_id=b"c", public_key=b"k")]
)
KEYS = keys_method({"bob@example.com": KEY})
WORKLOAD = workload_method("https://token.actions.githubusercontent.com")
ENCLAVE = enclave_method({"signer": policies.role(sgx=policies.sgx())})


def described(method):
    return Method(method_digest(encode(method)), method.public)


def digest_of(method):
    return method_digest(encode(method)).hex()


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(build_app())
    return dict(group.commands)


def only_way(login: Login) -> Any:
    (way,) = login.ways()
    return way


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def typed(monkeypatch):
    """A terminal on which these lines are typed."""

    def typed(*lines):
        monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in lines)))

    return typed


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "id.pub"
    path.write_text(f"{KEY} bob@laptop\n")
    return path


# --- options --------------------------------------------------------------------------------------------------


def test_each_option_is_one_way_and_what_needs_nobody_comes_first(key):
    login = Login(no_browser=True, user="bob", email="bob@example.com", ssh_key=key, workload_token="env:TOKEN")
    kinds = [type(way) for way in login.ways()]
    assert kinds == [TokenSignIn, KeySignIn, PasswordSignIn, CodeSignIn, PrintingSignIn]
    assert [type(way) for way in Login(device=True).ways()] == [PrintingDeviceSignIn]


def test_who_says_nothing_gets_a_browser_and_on_a_terminal_a_question(typed, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert [type(way) for way in UNASKED.ways()] == [BrowserSignIn]
    typed()
    assert [type(way) for way in UNASKED.ways()] == [BrowserSignIn, PasswordSignIn, CodeSignIn]


@pytest.mark.parametrize(
    ("login", "options", "words"),
    [
        (Login(no_browser=True, device=True), {}, "exclude each other"),
        (Login(password_stdin=True), {}, "goes with --user only"),
        (Login(user="bob", password_stdin=True), {"stdin_is_taken": True}, "holds the secret already"),
    ],
)
def test_contradictions_are_said_before_anybody_is_asked(login, options, words):
    with pytest.raises(Failure, match=words):
        login.ways(**options)


@pytest.mark.parametrize("command", ["store", "collect", "update", "delete", "describe"])
def test_commands_that_sign_in_take_every_option_for_it(command):
    names = {name for parameter in commands()[command].params for name in parameter.opts}
    assert {"--issuer", "--no-browser", "--device", "--user", "--password-stdin", "--ssh-key", "--email"} <= names
    assert "--workload-token" in names
    assert "--login" not in names


def test_no_option_takes_a_password():
    """Every process of a machine can read the arguments of the others."""
    for command in commands().values():
        for parameter in command.params:
            if "password" in parameter.name:
                assert parameter.is_flag


def test_a_command_gets_its_options_as_one(typed):
    seen = []

    @signs_in
    def command(address: str, login: Login = UNASKED, as_json: bool = False) -> None:
        seen.append((address, login, as_json))

    app = typer.Typer()
    app.command()(command)
    typer.main.get_command(app)(["x", "--user", "bob", "--as-json"], standalone_mode=False)
    assert seen == [("x", Login(user="bob"), True)]


async def test_a_password_is_read_from_standard_input_up_to_its_line(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(" pass word \r\nmore"))
    way = only_way(Login(user="bob", password_stdin=True))
    given = await way._ask("ad.example.com")
    assert (given.user, given.password) == ("bob", " pass word ")


async def test_without_a_terminal_no_password_is_asked_for(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    # What the library does without a terminal: it warns, and reads what is then seen by all.
    monkeypatch.setattr(getpass, "getpass", vars(getpass)["fallback_getpass"])
    way = only_way(Login(user="bob"))
    with pytest.raises(Failure, match="no terminal") as caught:
        await way._ask("ad.example.com")
    assert "--password-stdin" in caught.value.hint


async def test_a_name_of_a_directory_does_not_move_the_cursor(typed, capsys, monkeypatch):
    typed("bob")
    monkeypatch.setattr(getpass, "getpass", lambda prompt, stream: prompt)
    way: Any = UNASKED.ways()[1]
    given = await way._ask("ad\x1b[2Jexample")
    assert given.user == "bob"
    assert "\x1b" not in capsys.readouterr().err + given.password


async def test_codes_are_asked_for_with_the_tries_that_are_left(typed, capsys):
    typed("12345678", "87654321")
    way = only_way(Login(email="bob@example.com"))
    assert await way._ask_email("keys@example.com") == "bob@example.com"
    assert await way._ask_code(CodeSent("bob@example.com", "keys@example.com", 0, 5)) == "12345678"
    assert await way._ask_code(CodeSent("bob@example.com", "keys@example.com", 0, 4)) == "87654321"
    shown = capsys.readouterr().err
    assert "keys@example.com sends a code to bob@example.com" in shown
    assert "tries left: 4" in shown


def test_what_a_record_takes_is_said_with_the_option_for_it():
    methods = [
        OIDC,
        DIRECTORY,
        CODES,
        PASSKEYS,
        KEYS,
        WORKLOAD,
        ENCLAVE,
        oidc_method("https://tv", device_client_id="d"),
    ]
    error = NoWay("no sign-in method suits this client", "", [described(method) for method in methods])
    hint = explained(error).hint
    for words in (
        "https://login.example.com (native): as usual",
        "ad.example.com: --user NAME",
        "keys@example.com: --email ADDRESS",
        "share.test (on its page): in a browser only",
        ": --ssh-key FILE",
        "token.actions.githubusercontent.com: --workload-token",
        "signer: from that code only",
        "https://tv (device): --device",
    ):
        assert words in hint


# --- approval -------------------------------------------------------------------------------------------------


def providers(*known, settings=None):
    return Providers(settings or Settings(), TRUST, known)


async def test_a_new_directory_is_shown_by_name_and_nothing_goes_there_without_a_yes(typed, capsys):
    for answer in ("", "n", "nope"):
        typed(answer)
        with pytest.raises(Failure, match="not confirmed"):
            await providers().approve(described(DIRECTORY))
    typed("y")
    await providers().approve(described(DIRECTORY))
    shown = capsys.readouterr().err
    assert "ad.example.com" in shown
    assert digest_of(DIRECTORY) in shown
    assert "the servers that will see your password" in shown


async def test_where_nobody_can_be_asked_a_new_directory_is_refused(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    for method in (DIRECTORY, CODES, OIDC):
        with pytest.raises(Failure, match="no terminal"):
            await providers().approve(described(method))


async def test_a_directory_of_an_approved_name_with_other_servers_is_a_new_one(typed):
    """Whoever stores a record may call their own servers as they like."""
    await providers(DIRECTORY).approve(described(DIRECTORY))
    theirs = directory_method("ad.example.com", ["ldaps://evil.example.net"], base="DC=example,DC=com")
    typed("n")
    with pytest.raises(Failure):
        await providers(DIRECTORY).approve(described(theirs))
    # Not even when the name is the address of a provider that is approved.
    named = directory_method("https://login.example.com", ["ldaps://evil.example.net"], base="DC=x")
    typed("n")
    with pytest.raises(Failure):
        await providers(OIDC).approve(described(named))


async def test_a_provider_is_the_same_whatever_else_a_definition_says(typed):
    typed("n")
    await providers(OIDC).approve(described(oidc_method("https://login.example.com", "another", max_age=60)))
    with pytest.raises(Failure):
        await providers(OIDC).approve(described(oidc_method("https://login.example.com.evil.example", "c")))


async def test_a_provider_that_shows_anothers_page_is_shown_with_both_names(typed, capsys):
    elsewhere = replace(described(OIDC), page="https://login.microsoftonline.com")
    typed("n")
    with pytest.raises(Failure, match="not confirmed"):
        await providers().approve(elsewhere)
    typed("y")
    await providers().approve(elsewhere)
    shown = capsys.readouterr().err
    assert "https://login.example.com" in shown
    assert "https://login.microsoftonline.com" in shown
    await providers(OIDC).approve(elsewhere)  # the user's own provider: nobody is asked


async def test_what_stands_in_the_users_own_instructions_needs_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "instructions.toml").write_text(
        '[[authenticator]]\nurl = "https://a.example.com"\n[[method]]\ntype = "directory"\nname = "ad.example.com"\n'
        'flavour = "active-directory"\nservers = ["ldaps://dc1.example.com"]\nbase = "DC=example,DC=com"\n'
    )
    own = Settings(instructions=tmp_path / "instructions.toml")
    await providers(settings=own).approve(described(DIRECTORY))
    with pytest.raises(Failure):
        await providers(settings=own).approve(described(CODES))


# --- rules of the ordinary options ----------------------------------------------------------------------------


def stored(*methods):
    reference = AuthenticatorRef(url="https://a.example.com", policy=encode(ROLE))
    rules = Policy.depositor_may("update", "delete")
    return instructions(authenticators=[reference], methods=list(methods), rules=rules)


def test_for_an_address_means_whoever_each_method_says_has_it():
    rules = connection.ordinary_rules(stored(OIDC, DIRECTORY, CODES, KEYS, WORKLOAD, ENCLAVE), ["Bob@example.com"])
    assert rules.check() == ["audit", "collect", "delete", "update"]
    for method in (OIDC, DIRECTORY, CODES):
        assert digest_of(method) in rules.cedar
    for program in (WORKLOAD, ENCLAVE):  # it has no address, and must not get in for want of a condition
        assert digest_of(program) not in rules.cedar
    assert f"{digest_of(KEYS)}:bob@example.com" in rules.cedar


def test_for_nobody_whom_a_method_knows_is_a_mistake():
    methods: list[Any] = [WORKLOAD, ENCLAVE, KEYS]
    for method in methods:
        with pytest.raises(Failure, match=r"none of the sign-in methods says who carol@example.com is"):
            connection.ordinary_rules(stored(method), ["carol@example.com"])


def test_a_namespace_is_open_to_no_workload_that_nobody_named(tmp_path):
    """`--anyone` would else let in every program of that platform, whosever it is."""
    head = '[[authenticator]]\nurl = "https://a.example.com"\n'
    workload = '[[method]]\ntype = "workload"\nissuer = "https://token.actions.githubusercontent.com"\n'
    (tmp_path / "only.toml").write_text(head + workload)
    with pytest.raises(Failure, match="none of the sign-in methods says who anybody is"):
        connection.namespace_instructions(tmp_path / "only.toml", TRUST, [], [])
    oidc = '[[method]]\ntype = "oidc"\nissuer = "https://login.example.com"\nclient_id = "c"\n'
    (tmp_path / "both.toml").write_text(head + workload + oidc)
    encoded = connection.namespace_instructions(tmp_path / "both.toml", TRUST, [], [])
    assert digest_of(OIDC).encode() in encoded
    assert digest_of(WORKLOAD).encode() not in encoded


def test_ways_are_kept_apart_from_what_is_said_of_them():
    assert set(signing_in._OPTIONS) == {"oidc", "passkey", "workload", "directory", "keys", "enclave", "email-code"}
