"""What the Authenticator seals to itself and clients carry: tickets, capsules, device-flow handles (RULES 9, 10).

Each = salt (32) ‖ AES-256-GCM of its contents. Attacks stopped here:

1. A ticket used with another binding key, at another Vault, after ten minutes, at another Authenticator, or altered.
2. A handle of a device flow or a passkey, or a capsule, used as a ticket: each has keys of its own.
3. A capsule that no Vault asked for: a stranger would make this enclave call providers and client ids of his choice.
4. Tickets joined to one that counts for ever, or with somebody else's sign-in: what is joined is verified as if it
   were presented, and the new ticket expires no later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from strongroom.enclave.platform.port import Platform
from strongroom.enclave.runtime.clock import lasts
from strongroom.protocol.codec import Message, decode, encode
from strongroom.protocol.errors import Misuse, Number, Refused, Untrusted
from strongroom.protocol.evidence import Bytes32, SigningPublicKey, UnixTime
from strongroom.protocol.facts import Fact
from strongroom.protocol.limits import MAX_CAPSULE, MAX_METHODS, MAX_SIGN_INS, MAX_TICKET, MAX_TICKET_LIFE
from strongroom.protocol.messages import MethodBytes, Ticket
from strongroom.protocol.primitives import Domain, derive_key, equal, frame_parts, open_once, seal_once

SALT: Final = 32
MAX_OPENED: Final = 2048
"""Tickets whose contents are kept; the oldest goes first."""
MAX_CAPSULE_LIFE: Final = 3600
"""Seconds from `describe` in which a sign-in must end."""


class CapsuleContents(Message):
    """The complete definitions that stand in a record's instructions, as the Vault of `vault_cluster` gave them."""

    vault_cluster: Bytes32
    methods: Annotated[list[MethodBytes], Meta(min_length=1, max_length=MAX_METHODS)]
    expires_at: UnixTime


class TicketContents(Message):
    """What a ticket says, and to whom it belongs."""

    binding_key: SigningPublicKey
    vault_cluster: Bytes32
    expires_at: UnixTime
    facts: Annotated[list[Fact], Meta(min_length=1, max_length=MAX_SIGN_INS)]


T = TypeVar("T", bound=Message)


class Sealer:
    """Seals what this Authenticator's cluster hands out and wants back."""

    def __init__(self, platform: Platform, cluster_id: bytes, ticket_key: Callable[[], bytes]) -> None:
        """`ticket_key` gives that of the ring's newest epoch: all instances of a cluster have the ring, so each knows
        what another one has sealed."""
        self._platform = platform
        self._cluster_id = cluster_id
        self._ticket_key = ticket_key
        self._opened: dict[bytes, TicketContents] = {}

    def seal(self, domain: Domain, message: Message) -> bytes:
        """salt (32) ‖ sealed message. The salt is fresh, so each key seals once."""
        salt = self._platform.random(SALT)
        return salt + seal_once(self._key(domain, salt), encode(message), frame_parts(domain, self._cluster_id))

    def open(self, domain: Domain, untrusted_sealed: bytes, kind: type[T], limit: int = MAX_TICKET) -> T:
        """The inverse of `seal`; at most `limit` bytes. Raises `Refused`."""
        salt, sealed = untrusted_sealed[:SALT], untrusted_sealed[SALT:]
        try:
            plaintext = open_once(self._key(domain, salt), sealed, frame_parts(domain, self._cluster_id))
        except Untrusted:
            raise Refused(reason=f"not a {domain.value} of this Authenticator") from None
        return decode(plaintext, kind, limit=limit)

    def seal_capsule(self, methods: list[bytes], vault_cluster: bytes, now: int) -> bytes:
        contents = CapsuleContents(vault_cluster=vault_cluster, methods=methods, expires_at=now + MAX_CAPSULE_LIFE)
        return self.seal(Domain.CAPSULE, contents)

    def open_capsule(self, untrusted_capsule: bytes, vault_cluster: bytes, now: int) -> list[bytes]:
        """The definitions. Raises `Misuse` STALE_KEY when it has expired (the client describes again), `Refused`
        for everything else."""
        contents = self.open(Domain.CAPSULE, untrusted_capsule, CapsuleContents, limit=MAX_CAPSULE)
        if not equal(contents.vault_cluster, vault_cluster):
            raise Refused(reason="another Vault's capsule")
        if not lasts(contents.expires_at, now, MAX_CAPSULE_LIFE):
            raise Misuse(Number.STALE_KEY)
        return contents.methods

    def issue_ticket(
        self, binding_key: bytes, vault_cluster: bytes, fact: Fact, now: int, earlier: TicketContents | None = None
    ) -> tuple[Ticket, int]:
        """The ticket and its expiry. With `earlier`, which `open_ticket` verified for the same binding key and Vault,
        it holds those facts, too, and expires no later.

        Raises `Misuse` TOO_LARGE for more than MAX_SIGN_INS facts, `Untrusted` TOKEN_UNTRUSTED when they say too much
        for one ticket.
        """
        expires_at, facts = now + MAX_TICKET_LIFE, [fact]
        if earlier is not None:
            expires_at = min(expires_at, earlier.expires_at)
            kept = [old for old in earlier.facts if (old.method, old.subject) != (fact.method, fact.subject)]
            facts = [*kept, fact]
        if len(facts) > MAX_SIGN_INS:
            raise Misuse(Number.TOO_LARGE, f"a ticket holds at most {MAX_SIGN_INS} sign-ins")
        contents = TicketContents(
            binding_key=binding_key, vault_cluster=vault_cluster, expires_at=expires_at, facts=facts
        )
        sealed = self.seal(Domain.TICKET, contents)
        if len(sealed) > MAX_TICKET:
            # Leaving some groups out would let a rule that forbids a group fail to fire.
            raise Untrusted(
                Number.TOKEN_UNTRUSTED,
                "too many groups or claims for a ticket; let the provider send only groups of this application",
            )
        return Ticket(authenticator=self._cluster_id, sealed=sealed), expires_at

    def verify_ticket(
        self, untrusted_ticket: Ticket, *, binding_key: bytes, vault_cluster: bytes, now: int
    ) -> list[Fact]:
        """The facts of a ticket. Raises as `open_ticket` does."""
        return self.open_ticket(untrusted_ticket, binding_key=binding_key, vault_cluster=vault_cluster, now=now).facts

    def open_ticket(
        self, untrusted_ticket: Ticket, *, binding_key: bytes, vault_cluster: bytes, now: int
    ) -> TicketContents:
        """What a ticket says, if it belongs to `binding_key` at `vault_cluster`. Raises `Misuse` TICKET_EXPIRED,
        `Refused` for everything else."""
        contents = self._contents(untrusted_ticket.sealed)
        if (
            untrusted_ticket.authenticator != self._cluster_id
            or not equal(contents.binding_key, binding_key)
            or not equal(contents.vault_cluster, vault_cluster)
        ):
            raise Refused(reason="somebody else's ticket")
        if not lasts(contents.expires_at, now, MAX_TICKET_LIFE):
            raise Misuse(Number.TICKET_EXPIRED)
        return contents

    def _contents(self, untrusted_sealed: bytes) -> TicketContents:
        """Opened once for exactly these bytes. To whom it belongs and whether it has expired is asked every time."""
        contents = self._opened.get(untrusted_sealed)
        if contents is None:
            contents = self.open(Domain.TICKET, untrusted_sealed, TicketContents)
            while len(self._opened) >= MAX_OPENED:
                del self._opened[next(iter(self._opened))]
            self._opened[untrusted_sealed] = contents
        return contents

    def _key(self, domain: Domain, salt: bytes) -> bytes:
        return derive_key(self._ticket_key(), domain, self._cluster_id, salt=salt)
