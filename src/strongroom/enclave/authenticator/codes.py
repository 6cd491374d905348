"""Sign-in with a code sent by e-mail, for people who have no account anywhere.

What it proves is no more than this: whoever typed the code saw what was sent to the address. Who reads the mailbox or
runs a mail server on the way gets in, and so does whoever talks the addressee into telling the code: nothing ties it
to a page or a program of theirs. So its facts are marked phishable.

Attacks stopped here:

1. Guessing: eight digits, five tries, ten minutes, one use; and few codes for one address (`throttle`).
2. A code or handle used in another session: the handle is sealed, and names binding key, Vault, method and address.
3. Asking who may sign in: an address that the method doesn't name is counted, delayed and answered like the others,
   after the same conversation with the mail server as far as the sender, rounded up to whole steps of time. What
   follows, and how it ends, is of named addresses only; it comes after the answer and is told to the operator alone.
4. Flooding a mailbox, or spending the provider's quota: what is sent is counted before it is sent, by address of a
   method, by method, and by mailbox whatever the method, where `bob+1@` and `bob+2@` are one. Sessions that have
   signed in before spend a count of their own, so that strangers lock nobody out.
5. Many names for one mailbox: `bob+1@` and `bob+2@` would be two people to rules that count them. In a domain that
   is named as a whole, such addresses don't count.
6. Header injection: addresses hold no character that ends a line or means something in a header.

Codes are in memory only. One that was pushed out, or whose process has ended, is refused like a wrong one: that a host
restarts the enclave ends codes and never gives new tries (RULES 21).
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from strongroom.enclave.authenticator.mail import code_mail
from strongroom.enclave.authenticator.shares import Place
from strongroom.enclave.authenticator.smtp import PORTS, Undelivered, submission
from strongroom.enclave.authenticator.throttle import MAILS, Allowances, Throttle
from strongroom.enclave.authenticator.tickets import Sealer
from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import Clock, lasts
from strongroom.enclave.runtime.egress import Egress, roots_of, verify_server
from strongroom.enclave.runtime.events import Events
from strongroom.protocol.codec import Message
from strongroom.protocol.errors import Misuse, Number, Refused, Unavailable
from strongroom.protocol.evidence import Bytes32, ShortText, SigningPublicKey, UnixTime
from strongroom.protocol.facts import Fact, fact
from strongroom.protocol.instructions import CodeMethod
from strongroom.protocol.primitives import Domain, digest, equal
from strongroom.protocol.sign_in_messages import CodeBegun

DIGITS: Final = 8
MAX_LIFE: Final = 600
"""Seconds."""
TRIES: Final = 5
MAX_CODES: Final = 16_384
"""Codes that may be typed in; the oldest goes first."""
ANSWER_STEP: Final = 2.0
"""Seconds: `code-begin` is answered at whole multiples of this."""
BURST: Final = 60
"""Codes to one mailbox, and by one method, that strangers may ask for at once."""
REFILL: Final = 60
"""Seconds until they may ask for one more."""

_LOCAL: Final = r"[a-z0-9_'+-]+(?:\.[a-z0-9_'+-]+)*"
_HOST: Final = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
_DOMAIN: Final = re.compile(_HOST)
_ADDRESS: Final = re.compile(rf"(?=.{{1,64}}@)({_LOCAL})@({_HOST})")
"""Without `%` and `!`, by which old servers are told to pass mail on to other places."""


class SentCode(Message):
    """What a handle seals. The code itself never leaves memory but in the mail."""

    binding_key: SigningPublicKey
    vault_cluster: Bytes32
    method: Bytes32
    address: ShortText
    code_id: Bytes32
    expires_at: UnixTime


def verify_codes(method: CodeMethod) -> None:
    """Raises `Misuse` METHOD_INVALID with the reason."""
    try:
        verify_server(method.secret.server, PORTS)
    except Refused as error:
        raise _invalid(f"server: {error.reason}") from None
    user, password = method.secret.user, method.secret.password
    if bool(user) != bool(password):
        raise _invalid("user and password: one is given without the other")
    if "\0" in user + password:
        raise _invalid("user and password: a character that no server takes")
    if not _ADDRESS.fullmatch(method.public.sender):
        raise _invalid("sender: not a plain lower-case ASCII address")
    if not all(_ADDRESS.fullmatch(address) for address in method.addresses):
        raise _invalid("addresses: one is not a plain lower-case ASCII address")
    if not all(_DOMAIN.fullmatch(domain) for domain in method.domains):
        raise _invalid("domains: one is not a lower-case ASCII domain")
    if not method.addresses and not method.domains:
        raise _invalid("addresses and domains are both empty: nobody could sign in")
    if len(set(method.addresses)) != len(method.addresses) or len(set(method.domains)) != len(method.domains):
        raise _invalid("an address or a domain is listed twice")
    roots_of(method.certificates)


@dataclass(slots=True)
class _Code:
    text: str = field(repr=False)
    tries: int = TRIES


class Codes:
    """Codes on their way."""

    def __init__(self, platform: Platform, egress: Egress, clock: Clock, sealer: Sealer) -> None:
        self._platform = platform
        self._egress = egress
        self._clock = clock
        self._sealer = sealer
        self._sent: OrderedDict[bytes, _Code] = OrderedDict()
        self._throttle = Throttle(clock, MAILS)
        self._allowances = Allowances(clock, burst=BURST, refill=REFILL)
        self._conversations: set[asyncio.Task[None]] = set()
        """With mail servers. Each takes its turn (`Calls.turn`) and ends by `provider_deadline`."""
        self._events = Events(clock)

    async def begin(
        self, digest: bytes, method: CodeMethod, email: str, *, binding_key: bytes, vault_cluster: bytes
    ) -> CodeBegun:
        """Send a code, if the method lets one be sent there.

        Raises `Refused` THROTTLED or DESTINATION_REFUSED, `Unavailable` PROVIDER_UNAVAILABLE or PROVIDER_SLOW when the
        mail server takes no mail at the moment, whoever asks.
        """
        now = self._clock.now()
        address = email.lower() if email.isascii() else ""
        account, session = _account(digest, address), _session(digest, address, binding_key)
        self._throttle.enter([account], session)
        if not self._throttle.knows(session):
            self._allowances.take(digest)
            self._allowances.take(_mailbox(address))  # whoever stores records can make methods without number
        sent = SentCode(
            binding_key=binding_key,
            vault_cluster=vault_cluster,
            method=digest,
            address=address,
            code_id=self._platform.random(32),
            expires_at=now + MAX_LIFE,
        )
        async with _whole_steps():
            taken = asyncio.get_running_loop().create_future()
            conversation = asyncio.create_task(self._converse(method, sent, taken))
            self._conversations.add(conversation)
            conversation.add_done_callback(self._ended)
            await asyncio.wait({conversation, taken}, return_when=asyncio.FIRST_COMPLETED)
            if not taken.done():
                await conversation  # it has failed
        return CodeBegun(handle=self._sealer.seal(Domain.EMAIL_CODE, sent), expires_at=sent.expires_at)

    async def _converse(self, method: CodeMethod, sent: SentCode, taken: asyncio.Future[None]) -> None:
        """Raises what concerns everybody, before `taken`; what comes after it is told to the operator."""
        try:
            async with submission(self._egress.of(sent.method), method) as server:
                taken.set_result(None)
                if _is_named(method, sent.address):
                    code, now = _Code(self._draw()), sent.expires_at - MAX_LIFE
                    mail = code_mail(method.public.sender, sent.address, code.text, self._platform.random(16), now)
                    self._keep(sent.code_id, code)
                    await server.deliver(sent.address, mail)
        except Undelivered as undelivered:
            self._events.undelivered(undelivered.code)
        except Unavailable as error:
            if not taken.done():
                raise
            self._events.interrupted(error)

    def _ended(self, conversation: asyncio.Task[None]) -> None:
        self._conversations.discard(conversation)
        if not conversation.cancelled():
            conversation.exception()  # raised in `begin` where somebody still waits

    def verify_handle(self, untrusted_handle: bytes, binding_key: bytes) -> SentCode:
        """The code behind a handle. Raises `Refused`, SIGN_IN_REFUSED when it has expired."""
        sent = self._sealer.open(Domain.EMAIL_CODE, untrusted_handle, SentCode)
        if sent.binding_key != binding_key:
            raise Refused(reason="somebody else's code")
        if not lasts(sent.expires_at, self._clock.now(), MAX_LIFE):
            raise Refused(Number.SIGN_IN_REFUSED, "the code is older than ten minutes")
        return sent

    def sign_in(self, sent: SentCode, untrusted_code: str) -> Fact:
        """Whose mailbox the code came to. Counts the try first. Raises `Refused` SIGN_IN_REFUSED."""
        code = self._sent.get(sent.code_id)
        if code is None:
            raise Refused(Number.SIGN_IN_REFUSED, "the code was used, used up, pushed out or never sent")
        code.tries -= 1
        right = equal(code.text.encode(), untrusted_code.encode())
        if right or not code.tries:
            del self._sent[sent.code_id]
        if not right:
            raise Refused(Number.SIGN_IN_REFUSED, "a wrong code")
        account = _account(sent.method, sent.address)
        self._throttle.clear([account], _session(sent.method, sent.address, sent.binding_key))
        found = fact(sent.method, "email-code", sent.address)
        # No `amr`: RFC 8176 has none for mail, and its `otp` is a device's, which rules take for a second factor.
        return replace(found, email=sent.address, auth_time=self._clock.now(), phishable=True)

    def _draw(self) -> str:
        """Each of the 10^8 codes is equally likely: of the 2^32 draws, those above the last multiple are repeated."""
        while True:
            drawn = int.from_bytes(self._platform.random(4), "big")
            if drawn < 2**32 - 2**32 % 10**DIGITS:
                return f"{drawn % 10**DIGITS:0{DIGITS}}"

    def _keep(self, code_id: bytes, code: _Code) -> None:
        self._sent[code_id] = code
        if len(self._sent) > MAX_CODES:
            self._sent.popitem(last=False)


def _is_named(method: CodeMethod, address: str) -> bool:
    if address in method.addresses:
        return True
    found = _ADDRESS.fullmatch(address)
    return found is not None and found[2] in method.domains and "+" not in found[1]


def _account(method: bytes, address: str) -> Place:
    return method, digest(Domain.MARK, method, address.encode())


def _session(method: bytes, address: str, binding_key: bytes) -> Place:
    return method, digest(Domain.MARK, method, address.encode(), binding_key)


def _mailbox(address: str) -> bytes:
    """Most servers put what is sent to `bob+anything@` into the mailbox of `bob@` (RFC 5233)."""
    local, _, domain = address.partition("@")
    return digest(Domain.MARK, f"{local.partition('+')[0]}@{domain}".encode())


@asynccontextmanager
async def _whole_steps() -> AsyncIterator[None]:
    """Ends at a whole multiple of ANSWER_STEP, however what is inside ended."""
    now = asyncio.get_running_loop().time
    began = now()
    try:
        yield
    finally:
        await asyncio.sleep(ANSWER_STEP - (now() - began) % ANSWER_STEP)


def _invalid(reason: str) -> Misuse:
    return Misuse(Number.METHOD_INVALID, reason)
