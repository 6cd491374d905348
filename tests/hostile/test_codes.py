"""Codes by e-mail: one address, one session, ten minutes, five tries, once; and nobody learns who may sign in."""

import asyncio
from contextlib import suppress
from email.utils import parsedate_to_datetime

import pytest

from strongroom.enclave.authenticator import codes, mail
from strongroom.enclave.authenticator.codes import BURST, MAX_LIFE, REFILL, TRIES, Codes, verify_codes
from strongroom.enclave.authenticator.throttle import MAILS, Allowances
from strongroom.enclave.runtime.egress import Egress
from strongroom.protocol.authenticator_messages import Validate
from strongroom.protocol.errors import Misuse, Number, Refused, StrongroomError, Unavailable
from strongroom.protocol.sign_in_messages import CodeBegin
from tests.support.issuer import VAULT
from tests.support.mail import BOB, HOST, PASSWORD, SENDER, CodeDesk, MachineWithMail, MailServer, code_method
from tests.unit.authenticator.test_decisions import VAULT_PEER, stored

STEP = 0.05


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch):
    monkeypatch.setattr(codes, "ANSWER_STEP", STEP)


@pytest.fixture
async def server(tmp_path):
    async with MailServer(tmp_path).serving() as server:
        yield server


@pytest.fixture
def desk(tmp_path, server):
    return CodeDesk(MachineWithMail("authenticator", tmp_path / "machine"), server.method())


def another_client(desk):
    """A second session of the same Authenticator, with a binding key of its own."""
    other = CodeDesk(desk.platform, desk.codes)
    other.service = desk.service
    return other


async def refusal(awaitable):
    with pytest.raises(StrongroomError) as caught:
        await awaitable
    return caught.value


def allow(desk, burst):
    """So many codes at once."""
    desk.service._sign_ins._codes._allowances = Allowances(desk.clock, burst=burst, refill=REFILL)


def wrong(code):
    return f"{(int(code) + 1) % 10**8:08}"


# --- the way it should go --------------------------------------------------------------------------------------------


async def test_who_reads_the_mailbox_signs_in(desk, server):
    begun = await desk.code_begin()
    signed_in = await desk.code_finish(begun, server.code())
    (fact,) = desk.facts(signed_in)
    assert (signed_in.subject, signed_in.email) == (BOB, BOB)
    assert (fact.method, fact.kind, fact.subject, fact.email) == (desk.code_digest, "email-code", BOB, BOB)
    assert (fact.channel, fact.amr, fact.mark) == ("direct", [], None)
    assert fact.auth_time == pytest.approx(desk.clock.now(), abs=2)
    assert begun.expires_at == pytest.approx(desk.clock.now() + MAX_LIFE, abs=2)


async def test_a_code_counts_as_phishable_since_anybody_may_ask_for_it_and_talk_the_addressee_into_telling(
    desk, server
):
    thief = another_client(desk)
    begun = await thief.code_begin()
    told_on_the_telephone = server.code()
    (fact,) = thief.facts(await thief.code_finish(begun, told_on_the_telephone))
    assert fact.phishable


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
async def test_mail_goes_out_over_tls_with_a_sign_in(tmp_path, scheme, mechanism):
    server = MailServer(tmp_path)
    server.mechanisms = {mechanism}
    async with server.serving():
        port = server.implicit if scheme == "smtps" else server.starttls
        method = server.method(server=f"{scheme}://{HOST}:{port}")
        desk = CodeDesk(MachineWithMail("authenticator", tmp_path / "machine"), method)
        await desk.code_finish(await desk.code_begin(), server.code())
    assert server.sign_ins == [mechanism]
    assert server.envelopes == [(SENDER, [BOB])]


async def test_a_ticket_may_hold_it_beside_an_earlier_sign_in(desk, server):
    desk.codes = server.method(addresses=[BOB, "ann@example.com"])
    first = await desk.code_finish(await desk.code_begin(), server.code())
    second = await desk.code_finish(await desk.code_begin("ann@example.com"), server.code(), with_ticket=first.ticket)
    assert [fact.subject for fact in desk.facts(second)] == [BOB, "ann@example.com"]


async def test_the_mail_says_what_it_is_and_holds_nothing_of_the_machine_or_of_who_asked(desk, server):
    await desk.code_begin()
    (sent,), (raw,) = server.mails, server.raw
    assert (sent["From"], sent["To"], sent["Auto-Submitted"]) == (f"Strongroom <{SENDER}>", BOB, "auto-generated")
    assert sorted(sent.keys()) == [
        "Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "MIME-Version", "Message-ID",
        "Subject", "To",
    ]  # fmt: skip
    assert parsedate_to_datetime(sent["Date"]).timestamp() == pytest.approx(desk.clock.now(), abs=2)
    assert sent["Message-ID"].endswith("@example.com>")
    text = sent.get_content()
    assert server.code() in text
    assert server.code() not in sent["Subject"]  # which a locked telephone shows
    assert "Strongroom" in text
    assert "ten minutes" in text
    assert "http" not in text
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) < 78


async def test_every_code_is_equally_likely(desk, monkeypatch):
    """2^32 is no multiple of 10^8: without repeating the draws above the last one, low codes come more often."""
    drawn = [(2**32 - 1), 42 * 10**8, 42 * 10**8 - 1, 7]
    numbers = iter(drawn)
    monkeypatch.setattr(desk.platform, "random", lambda size: next(numbers).to_bytes(size, "big"))
    codes_ = Codes(desk.platform, Egress(desk.platform), desk.clock, desk.sealer)
    assert [codes_._draw(), codes_._draw()] == ["99999999", "00000007"]


# --- another session, another method, another time ------------------------------------------------------------------


async def test_a_code_is_worthless_in_another_session(desk, server):
    begun = await desk.code_begin()
    error = await refusal(another_client(desk).code_finish(begun, server.code()))
    assert error.number is Number.REFUSED
    await desk.code_finish(begun, server.code())


async def test_a_code_is_worthless_with_another_handle(desk, server):
    first = await desk.code_begin()
    code = server.code()
    second = await desk.code_begin()
    assert (await refusal(desk.code_finish(second, code))).number is Number.SIGN_IN_REFUSED
    await desk.code_finish(first, code)


async def test_a_handle_of_another_authenticator_or_altered_is_refused(desk, server):
    begun = await desk.code_begin()
    for handle in (b"", bytes(100), begun.handle[:-1], begun.handle[:-1] + bytes([begun.handle[-1] ^ 1])):
        assert (await refusal(desk.code_finish(begun, server.code(), handle=handle))).number is Number.REFUSED


async def test_the_ticket_is_for_the_vault_that_the_code_was_asked_for(desk, server):
    begun = await desk.code_begin()
    signed_in = await desk.code_finish(begun, server.code())
    with pytest.raises(Refused):
        desk.sealer.verify_ticket(
            signed_in.ticket, binding_key=desk.binding_key, vault_cluster=b"W" * 32, now=desk.clock.now()
        )


async def test_who_was_taken_off_the_list_since_is_refused(desk, server):
    begun = await desk.code_begin()
    shorter = desk.capsule(server.method(addresses=["ann@example.com"]))
    error = await refusal(desk.code_finish(begun, server.code(), capsule=shorter))
    assert error.number is Number.UNKNOWN_METHOD


async def test_a_code_is_refused_after_ten_minutes_and_after_a_jump_of_the_clock(desk, server):
    begun = await desk.code_begin()
    desk.platform.ahead = MAX_LIFE + 1
    assert (await refusal(desk.code_finish(begun, server.code()))).number is Number.SIGN_IN_REFUSED
    desk.platform.ahead = -3600
    assert (await refusal(desk.code_finish(begun, server.code()))).number is Number.SIGN_IN_REFUSED


async def test_a_code_is_used_once(desk, server):
    begun = await desk.code_begin()
    await desk.code_finish(begun, server.code())
    assert (await refusal(desk.code_finish(begun, server.code()))).number is Number.SIGN_IN_REFUSED


async def test_of_two_parallel_uses_one_counts(desk, server):
    begun = await desk.code_begin()
    results = await asyncio.gather(*(desk.code_finish(begun, server.code()) for _ in range(8)), return_exceptions=True)
    assert sum(not isinstance(result, StrongroomError) for result in results) == 1


async def test_after_five_tries_the_right_code_is_refused_too(desk, server):
    begun = await desk.code_begin()
    code = server.code()
    for _ in range(TRIES):
        assert (await refusal(desk.code_finish(begun, wrong(code)))).number is Number.SIGN_IN_REFUSED
    assert (await refusal(desk.code_finish(begun, code))).number is Number.SIGN_IN_REFUSED


async def test_the_fifth_try_still_counts(desk, server):
    begun = await desk.code_begin()
    code = server.code()
    for _ in range(TRIES - 1):
        await refusal(desk.code_finish(begun, wrong(code)))
    await desk.code_finish(begun, code)


@pytest.mark.parametrize("guess", ["١٢٣٤٥٦٧٨", "1234567\x00", "𝟏" * 8, " " * 8])
async def test_what_is_no_code_is_a_wrong_one(desk, server, guess):
    begun = await desk.code_begin()
    assert (await refusal(desk.code_finish(begun, guess))).number is Number.SIGN_IN_REFUSED


async def test_a_restart_ends_codes_and_gives_no_new_tries(desk, server):
    """The host keeps the handle and starts the enclave anew: were tries in the handle, each start gave five."""
    begun = await desk.code_begin()
    restarted = CodeDesk(desk.platform, desk.codes)
    restarted.binding_key = desk.binding_key
    assert (await refusal(restarted.code_finish(begun, server.code()))).number is Number.SIGN_IN_REFUSED


async def test_codes_in_memory_are_bounded_and_one_pushed_out_is_refused(desk, server, monkeypatch):
    monkeypatch.setattr(codes, "MAX_CODES", 2)
    begun = [await desk.code_begin() for _ in range(1)]
    first = server.code()
    desk.codes = server.method(addresses=[BOB, "ann@example.com"])
    begun.append(await desk.code_begin("ann@example.com"))
    begun.append(await desk.code_begin("ann@example.com"))
    last = server.code()
    desk.codes = server.method()
    assert (await refusal(desk.code_finish(begun[0], first))).number is Number.SIGN_IN_REFUSED
    desk.codes = server.method(addresses=[BOB, "ann@example.com"])
    await desk.code_finish(begun[2], last)


async def test_what_a_code_keeps_is_not_printed():
    assert "12345678" not in repr(codes._Code("12345678"))


# --- who may sign in is nobody's business ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "email",
    [
        "eve@example.com", "bob@example.org", "bob", "", "bob@example.com.evil.example", "bób@example.com",
        "bob@example.com\r\nRCPT TO:<eve@x.y>", "bob@example.com>", "<bob@example.com>", "Bob <bob@example.com>",
        "bob%evil.example@example.com",
    ],
)  # fmt: skip
async def test_an_address_that_is_not_named_gets_the_same_answer_and_no_mail(desk, server, email):
    honest = await desk.code_begin()
    begun = await desk.code_begin(email)
    assert begun.expires_at - honest.expires_at <= 2
    if email.isascii() and len(email) == len(BOB):
        assert len(begun.handle) - len(honest.handle) == len(email) - len(BOB)
    assert len(server.mails) == 1
    assert server.conversations == 2  # as far as the sender, so that what a server costs and how it fails look alike
    for code in ("00000000", server.code()):
        assert (await refusal(desk.code_finish(begun, code))).number is Number.SIGN_IN_REFUSED


async def test_an_address_that_is_not_named_hears_of_a_dead_server_like_the_others(desk, server):
    desk.codes = server.method(password="changed since")
    answers = [await refusal(desk.code_begin(email)) for email in (BOB, "eve@example.com")]
    assert [error.number for error in answers] == [Number.PROVIDER_UNAVAILABLE] * 2
    assert answers[0].reason == answers[1].reason == "the mail server replied 535 in place of 235"


async def test_an_address_that_is_not_named_is_throttled_like_the_others(desk, server):
    for email in (BOB, "eve@example.com"):
        numbers = []
        for _ in range(MAILS.free + 1):
            try:
                await desk.code_begin(email)
                numbers.append(0)
            except Refused as error:
                numbers.append(error.number)
        assert numbers == [0] * MAILS.free + [Number.THROTTLED]


async def test_answers_take_whole_steps_of_time_whoever_asks(desk, server, monkeypatch):
    step = 0.6
    monkeypatch.setattr(codes, "ANSWER_STEP", step)
    now = asyncio.get_running_loop().time
    for email, password in ((BOB, PASSWORD), ("eve@example.com", PASSWORD), (BOB, "wrong")):
        desk.codes = server.method(password=password)
        began = now()
        with suppress(Unavailable):
            await desk.code_begin(email)
        took = now() - began
        assert took >= step
        assert took % step < step / 2


@pytest.mark.parametrize("part", ["recipient_reply", "data_reply"])
async def test_a_recipient_whom_the_server_refuses_looks_like_any_other_to_who_asks(desk, server, part, capsys):
    setattr(server, part, "550 5.1.1 no such mailbox: bob@example.com")
    begun = await desk.code_begin()
    assert server.mails == []
    assert (await refusal(desk.code_finish(begun, "00000000"))).number is Number.SIGN_IN_REFUSED
    told = capsys.readouterr().err
    assert "undelivered: the mail server replied 550" in told
    assert "bob" not in told


@pytest.mark.parametrize("part", ["recipient_reply", "data_reply"])
async def test_a_recipient_whom_the_server_wants_tried_later_looks_like_any_other_too(desk, server, part, capsys):
    """What only named addresses would be told tells who is named."""
    setattr(server, part, "451 4.3.0 later")
    await desk.code_begin()
    assert server.mails == []
    assert "undelivered: the mail server replied 451" in capsys.readouterr().err


@pytest.mark.parametrize("email", [BOB, "eve@example.com"])
async def test_who_is_named_does_not_show_in_how_long_the_server_takes_for_a_mail(desk, server, monkeypatch, email):
    taken, going_on = asyncio.Event(), asyncio.Event()
    deliver = server.handle_DATA

    async def slowly(*arguments):
        taken.set()
        await going_on.wait()
        return await deliver(*arguments)

    monkeypatch.setattr(server, "handle_DATA", slowly)
    capsule = desk.capsule(desk.codes)
    request = CodeBegin(vault_cluster=VAULT, capsule=capsule, method=desk.code_digest, email=email)
    await asyncio.wait_for(desk.service.handle(desk.caller(), request), 3)
    assert server.mails == []
    if email == BOB:
        await asyncio.wait_for(taken.wait(), 3)
    going_on.set()
    await desk.delivered()
    assert len(server.mails) == (email == BOB)


async def test_a_server_that_breaks_off_after_the_sender_is_told_to_the_operator_alone(
    desk, server, monkeypatch, capsys
):
    async def hang_up(server, session, *arguments):
        server.transport.abort()

    monkeypatch.setattr(server, "handle_RCPT", hang_up)
    await desk.code_begin()
    assert server.mails == []
    told = capsys.readouterr().err
    assert "undelivered: the mail server" in told
    assert "bob" not in told


# --- addresses and domains ------------------------------------------------------------------------------------------


async def test_capitals_don_t_matter(desk, server):
    begun = await desk.code_begin("Bob@Example.COM")
    (fact,) = desk.facts(await desk.code_finish(begun, server.code()))
    assert (fact.subject, server.envelopes) == (BOB, [(SENDER, [BOB])])


async def test_a_domain_names_all_its_addresses_and_none_below_it(desk, server):
    desk.codes = server.method(addresses=[], domains=["example.com"])
    await desk.code_finish(await desk.code_begin("o'neill.ann@example.com"), server.code())
    for email in ("eve@sub.example.com", "eve@notexample.com", "eve@example.com.", "@example.com", "a@b@example.com",
                  ".eve@example.com", "e..ve@example.com", "e ve@example.com", f"{'e' * 65}@example.com"):  # fmt: skip
        await desk.code_begin(email)
    assert len(server.mails) == 1


async def test_one_mailbox_is_not_many_people_by_adding_a_plus(desk, server):
    """Else Bob approves of what Bob asked for, and a stranger floods one mailbox under a thousand names."""
    desk.codes = server.method(addresses=["ann+keys@example.com"], domains=["example.com"])
    await desk.code_begin("bob+1@example.com")
    assert server.mails == []
    await desk.code_begin("ann+keys@example.com")
    assert server.envelopes == [(SENDER, ["ann+keys@example.com"])]


def test_the_longest_address_is_written_as_it_is():
    """However headers are folded, they must not come to name another address."""
    address = f"{'x' * 64}@{'y' * 63}.{'z' * 63}.example.com"
    assert f"\r\nTo: {address}\r\n".encode() in mail.code_mail(SENDER, address, "12345678", bytes(16), 0)


@pytest.mark.parametrize("address", ["bob@example.com\r\nBcc: eve@example.com", "bob@example.com\neve: 1"])
def test_a_header_can_t_be_put_into_another(address):
    with pytest.raises(ValueError, match=r"linefeed|carriage"):
        mail.code_mail(SENDER, address, "12345678", bytes(16), 0)


# --- floods ---------------------------------------------------------------------------------------------------------


async def test_a_mailbox_gets_three_codes_and_then_one_after_each_delay(desk, server):
    for _ in range(MAILS.free):
        await another_client(desk).code_begin()
    assert (await refusal(another_client(desk).code_begin())).number is Number.THROTTLED
    desk.platform.ahead += MAILS.first_delay
    await another_client(desk).code_begin()
    desk.platform.ahead += MAILS.first_delay
    assert (await refusal(another_client(desk).code_begin())).number is Number.THROTTLED
    assert len(server.mails) == MAILS.free + 1


async def test_parallel_requests_can_t_outrun_the_counting(desk, server):
    results = await asyncio.gather(*(another_client(desk).code_begin() for _ in range(10)), return_exceptions=True)
    assert len(server.mails) == MAILS.free
    assert sum(isinstance(result, Refused) for result in results) == 10 - MAILS.free


async def test_strangers_who_flood_a_mailbox_don_t_lock_its_owner_out(desk, server):
    await desk.code_finish(await desk.code_begin(), server.code())
    for _ in range(MAILS.free):
        await refusal(asyncio.wait_for(flood(another_client(desk)), 10))
    await desk.code_finish(await desk.code_begin(), server.code())


async def flood(client):
    while True:
        await client.code_begin()


async def test_a_stranger_can_t_spend_the_provider_s_quota(desk, server):
    """Nor by addresses that the method doesn't name, which cost a conversation with the server."""
    allow(desk, 3)
    desk.codes = server.method(addresses=[BOB], domains=["example.com"])
    await desk.code_finish(await desk.code_begin(), server.code())
    stranger = another_client(desk)
    for email in ("a@example.com", "nobody@elsewhere.example"):
        await stranger.code_begin(email)
    for email in ("b@example.com", "else@elsewhere.example"):
        assert (await refusal(stranger.code_begin(email))).number is Number.THROTTLED
    await desk.code_begin()  # but who has signed in before has it all the same
    desk.platform.ahead += REFILL
    await stranger.code_begin("c@example.com")
    assert server.conversations == 5


async def test_a_mailbox_is_not_flooded_by_making_many_methods(desk, server):
    """Whoever stores records names the mail server of the victim's own domain, and a new sender each time."""
    allow(desk, 2)
    for number in range(2):
        desk.codes = server.method(sender=f"codes{number}@example.com")
        await desk.code_begin()
    desk.codes = server.method(sender="codes2@example.com")
    assert (await refusal(desk.code_begin())).number is Number.THROTTLED
    assert len(server.mails) == 2


async def test_a_mailbox_is_not_flooded_under_a_thousand_names_of_it(desk, server):
    allow(desk, 2)
    addresses = [f"bob+{number}@example.com" for number in range(2)] + [BOB]
    for number, address in enumerate(addresses):
        desk.codes = server.method(addresses=addresses, sender=f"codes{number}@example.com")
        if number < 2:
            await desk.code_begin(address)
    assert (await refusal(desk.code_begin(BOB))).number is Number.THROTTLED
    assert len(server.mails) == 2


async def test_methods_don_t_share_their_quota(desk, server):
    allow(desk, 1)
    await desk.code_begin()
    other = another_client(desk)
    other.codes = server.method(addresses=["ann@example.com"])
    await other.code_begin("ann@example.com")
    assert len(server.mails) == 2


def test_the_burst_is_what_providers_allow():
    assert BURST <= 100


# --- definitions ----------------------------------------------------------------------------------------------------

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"server": "https://mail.example"}, "server: "),
        ({"server": "mail.example:465"}, "server: "),
        ({"server": "smtps://mail.example/path"}, "server: "),
        ({"server": "smtps://user:password@mail.example"}, "server: "),
        ({"server": "smtps://mail.example:0"}, "server: "),
        ({"server": "smtps://mail.example:65536"}, "server: "),
        ({"server": "smtps://mail.example\r\n"}, "server: "),
        ({"server": "smtp+insecure://mail.example"}, "server: "),
        ({"server": ""}, "server: "),
        ({"password": ""}, "user and password: "),
        ({"user": ""}, "user and password: "),
        ({"user": "a\0b"}, "user and password: "),
        ({"password": "a\0b"}, "user and password: "),
        ({"sender": ""}, "sender: "),
        ({"sender": "Codes@example.com"}, "sender: "),
        ({"sender": "Codes <codes@example.com>"}, "sender: "),
        ({"sender": "codes@example.com\r\nBcc: eve@example.com"}, "sender: "),
        ({"sender": "codes@localhost"}, "sender: "),
        ({"sender": "codes@[192.0.2.1]"}, "sender: "),
        ({"addresses": ["Bob@example.com"]}, "addresses: "),
        ({"addresses": ["bob@exämple.com"]}, "addresses: "),
        ({"addresses": ["bob@example.com", ""]}, "addresses: "),
        ({"addresses": ["bob@example.com\n"]}, "addresses: "),
        ({"addresses": ["bob%x@example.com"]}, "addresses: "),
        ({"addresses": ['"b b"@example.com']}, "addresses: "),
        ({"addresses": [BOB, BOB]}, "an address or a domain is listed twice"),
        ({"domains": ["Example.com"]}, "domains: "),
        ({"domains": ["com"]}, "domains: "),
        ({"domains": ["*.example.com"]}, "domains: "),
        ({"domains": ["-a.example.com"]}, "domains: "),
        ({"domains": ["127.0.0.1"]}, "domains: "),
        ({"domains": ["example.com", "example.com"]}, "an address or a domain is listed twice"),
        ({"addresses": [], "domains": []}, "addresses and domains are both empty"),
        ({"certificates": b"\xff"}, "the certificates are not PEM"),
        ({"certificates": b"mail.example"}, "the certificates are not PEM"),
        ({"certificates": PEM}, "the certificates are not PEM"),
    ],
)
def test_a_malformed_definition_is_refused_with_the_field_named(changes, reason):
    with pytest.raises(Misuse) as caught:
        verify_codes(code_method("smtps://mail.example", **changes))
    assert caught.value.number is Number.METHOD_INVALID
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"server": "smtp://mail.example:2525"},
        {"server": "smtps://[2606:4700::1]:465"},
        {"user": "", "password": ""},
        {"addresses": [], "domains": ["example.com", "sub.example.co.uk"]},
        {"addresses": ["o'neill@example.com", "a.b-c_d+e@xn--exmple-cua.com"]},
    ],
)
def test_a_sound_definition_is_accepted(changes):
    verify_codes(code_method("smtps://mail.example", **changes))


async def test_a_malformed_definition_is_refused_at_store(desk):
    broken = code_method("smtps://mail.example", sender="Codes@example.com")
    request = Validate(instructions=stored(broken))
    with pytest.raises(Misuse) as caught:
        await desk.service.handle(desk.caller(VAULT_PEER), request)
    assert (caught.value.number, caught.value.place) == (Number.METHOD_INVALID, 0)
