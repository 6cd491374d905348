"""What the operations of a Vault answer."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from strongroom.protocol.instructions import (
    Audience,
    Channel,
    CodePublic,
    DirectoryPublic,
    EnclavePublic,
    KeysPublic,
    Kind,
    OidcPublic,
    PasskeyPublic,
    WorkloadPublic,
)
from strongroom.protocol.messages import Address, Terms
from strongroom.protocol.messages import Person as Author
from strongroom.protocol.vault_messages import Question, Visit


@dataclass(frozen=True, slots=True)
class Receipt:
    """A durable write: where, and the version it made. Keep the version to replace exactly this one later."""

    address: Address
    version: int


@dataclass(frozen=True, slots=True)
class Erased:
    """A durable deletion. A copy that the host kept opens until `epoch` has left the key ring; after that only with an
    older copy of the ring, and a machine or custodians to open it."""

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
class LogEntry:
    """One decision about a record, as the log of the Vault has it."""

    number: int
    """Among the entries about this record, from 1, without gaps."""
    at: int
    """Unix seconds, by the Vault's clock."""
    version: int
    """Of the record."""
    action: str
    principal: str
    """Who asked, as rules name them: digest of the sign-in method, colon, subject."""
    outcome: int
    """0 for OK, else the error number that was answered."""
    leaf: int
    """Index in the log."""
    previous: int
    """Index + 1 of the leaf of the entry before this one; 0: this is the first."""


@dataclass(frozen=True, slots=True)
class Trail:
    """Entries of the log about one record, each proven to be in it."""

    version: int
    """Of the record."""
    size: int
    """Leaves of the log in which all of them are, at least."""
    entries: tuple[LogEntry, ...]
    """Newest first, without gaps."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the Vault says to the host about a record's blob (`spec/blobs.md`); it holds no secret."""

    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that waits for approvals. Tell it to those who may approve; the Vault tells nobody."""

    address: Address
    question: bytes
    """16 bytes."""
    version: int
    """Of the record: any change of it ends the question."""
    expires_at: int
    """Unix seconds, by the Vault's clock."""


@dataclass(frozen=True, slots=True)
class OpenQuestions:
    """What waits for approvals at a record."""

    version: int
    questions: tuple[Question, ...]
    """Oldest first. `key` is SHA-256 of the binding key that asks, to be compared where it matters."""


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
    """Name of the method: issuer of the provider, name of the directory, and so on."""
    subject: str
    email: str
    """Verified address, or empty."""
    principal: str
    """As rules, journals and your own addresses name you: digest of the sign-in method, colon, subject."""


PublicPart = OidcPublic | PasskeyPublic | WorkloadPublic | DirectoryPublic | KeysPublic | EnclavePublic | CodePublic


@dataclass(frozen=True, slots=True)
class Method:
    """One way to sign in, as the Vault shows it to whoever may describe."""

    digest: bytes
    """32 bytes, of the complete definition; principals are filed under it."""
    public: PublicPart
    page: str = ""
    """In what `approve` is asked, of a provider: the origin of the page where it has its users sign in, if that is not
    its issuer's own. Whoever runs the issuer can then use what somebody agrees to on that page."""

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.public)]

    @property
    def issuer(self) -> str:
        """Of a provider, or of tokens for workloads; empty for other methods."""
        return self.public.issuer if isinstance(self.public, OidcPublic | WorkloadPublic) else ""

    @property
    def name(self) -> str:
        """What people call it: issuer, domain of a site, name of a directory, sender of codes. A depositor's word."""
        match self.public:
            case OidcPublic(issuer=issuer) | WorkloadPublic(issuer=issuer):
                return issuer
            case PasskeyPublic(rp_id=rp_id):
                return rp_id
            case DirectoryPublic(name=name):
                return name
            case KeysPublic(fingerprints=fingerprints):
                return ", ".join(map(fingerprint_text, fingerprints))
            case EnclavePublic(names=names):
                return ", ".join(names)
            case CodePublic(sender=sender):
                return sender

    @property
    def title(self) -> str:
        """A few words for a line of text: what it takes to sign in by it."""
        match self.public:
            case OidcPublic():
                return f"an account at {self.name} ({'/'.join(self.channels)})"
            case WorkloadPublic(audience=audience):
                return f"a workload's token of {self.name}{f' for {audience}' if audience else ''}"
            case PasskeyPublic():
                return f"a passkey of {self.name} (on its page)"
            case DirectoryPublic():
                return f"user name and password of {self.name}"
            case KeysPublic():
                return f"an ssh key: {self.name}"
            case EnclavePublic():
                return f"the quote of an enclave: {self.name}"
            case CodePublic():
                return f"a code by e-mail from {self.name}"

    @property
    def audiences(self) -> tuple[Audience, ...]:
        """Of a provider: one for each kind of client."""
        return tuple(self.public.audiences) if isinstance(self.public, OidcPublic) else ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Kinds of client that may use it."""
        return tuple(audience.channel for audience in self.audiences)


KINDS: Final[dict[type[PublicPart], Kind]] = {
    OidcPublic: "oidc",
    PasskeyPublic: "passkey",
    WorkloadPublic: "workload",
    DirectoryPublic: "directory",
    KeysPublic: "keys",
    EnclavePublic: "enclave",
    CodePublic: "email-code",
}


def fingerprint_text(digest: bytes) -> str:
    """A key's fingerprint as `ssh-keygen -l` prints it."""
    return f"SHA256:{b64encode(digest).rstrip(b'=').decode()}"


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
