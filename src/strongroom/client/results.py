"""What the operations of a Vault answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from strongroom.protocol.instructions import Audience, Channel
from strongroom.protocol.messages import Address, Terms
from strongroom.protocol.messages import Person as Author
from strongroom.protocol.vault_messages import Visit


@dataclass(frozen=True, slots=True)
class Receipt:
    """A durable write: where, and the version it made. Keep the version to replace exactly this one later."""

    address: Address
    version: int


@dataclass(frozen=True, slots=True)
class Erased:
    """A durable deletion. Copies that the host kept stay readable to the Vault until `epoch` leaves its key ring."""

    address: Address
    version: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Released:
    """A secret that the Vault released to you."""

    secret: bytes = field(repr=False)
    metadata: bytes = field(repr=False)
    version: int
    author: Author
    """Who last set the secret: principal and verified address. Both empty when only the record itself, not its
    namespace, would recognise them: then it is from nobody known, whatever it says."""
    terms: Terms | None
    opens: int
    """Releases that count against `terms.max_opens`, this one included."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Who asked for a record that has terms, with what answer."""

    version: int
    opens: int
    terms: Terms
    visits: tuple[Visit, ...]
    """The most recent ones, oldest first. Numbers that are missing are of visits that made room for others."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the Vault says to the host about a record's blob (`spec/blobs.md`); it holds no secret."""

    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class NewSecret:
    """One record to create: see `AsyncVault.store`."""

    secret: bytes = field(repr=False)
    instructions: bytes = field(repr=False)
    name: str | None = None
    metadata: bytes = field(default=b"", repr=False)
    replaces: int = 0
    record_id: bytes | None = field(default=None, repr=False)
    terms: Terms | None = None
    person: str | None = None
    """Your own principal: the record is stored under `name` as your own, where nobody else can store anything."""


@dataclass(frozen=True, slots=True)
class Person:
    """As whom you have just signed in."""

    issuer: str
    subject: str
    email: str
    """Verified address, or empty."""
    principal: str
    """As rules, journals and your own addresses name you: digest of the sign-in method, colon, subject."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to sign in, as the Vault shows it to whoever may describe."""

    digest: bytes
    """32 bytes; principals are filed under it."""
    issuer: str
    """Of a provider; empty for passkeys."""
    audiences: tuple[Audience, ...]
    scopes: tuple[str, ...]
    rp_id: str = ""
    """Domain that these passkeys were made for; empty for a provider."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Kinds of client that may use it."""
        return tuple(audience.channel for audience in self.audiences)


@dataclass(frozen=True, slots=True)
class Place:
    """One Authenticator where to sign in."""

    url: str
    cluster_id: bytes
    capsule: bytes = field(repr=False)
    """The method definitions, sealed to this Authenticator."""


@dataclass(frozen=True, slots=True)
class Description:
    """How to sign in for a record or a namespace. Never the rules."""

    authenticators: tuple[Place, ...]
    quorum: int
    """How many of the Authenticators must agree."""
    methods: tuple[Method, ...]
