"""Whom a share is for, and the instructions that say so to the Vault (`spec/share.md`, rules of a share)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from strongroom.attestation.policy import TrustPolicy
from strongroom.client.errors import BadInput
from strongroom.client.methods import passkey_method
from strongroom.client.policy import People, Policy, instructions
from strongroom.client.share.format import MAX_CARDS, MAX_PEOPLE, Card
from strongroom.client.share.site import Site, SiteMethod
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import (
    Action,
    AuthenticatorRef,
    CodeMethod,
    DirectoryMethod,
    Method,
    Passkey,
    PasskeyMethod,
    method_digest,
)


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom a share is for. Addresses in lower case; raises `BadInput` for what can't be meant."""

    emails: tuple[str, ...]
    groups: tuple[str, ...] = ()
    second: str | None = None
    """Who has to sign in beside the recipient."""
    cards: tuple[Card, ...] = ()
    """Passkeys that recipients have to use besides."""

    def __post_init__(self) -> None:
        if not self.emails and not self.groups:
            raise BadInput(
                "nobody is to receive this",
                "name people with --for (whom you ask for files: --from), or a group with --group",
            )
        if len(self.emails) + len(self.groups) > MAX_PEOPLE:
            raise BadInput(f"a share has at most {MAX_PEOPLE} recipients", "name a group")
        for email in (*self.emails, *([self.second] if self.second else [])):
            _verify_email(email)
        if self.second in self.emails:
            raise BadInput(f"{self.second} is a recipient already", "the second person is somebody else")
        if self.cards:
            _verify_cards(self)


def recipients_of(
    emails: Sequence[str], groups: Sequence[str] = (), second: str | None = None, cards: Sequence[Card] = ()
) -> Recipients:
    """The same with addresses in lower case, each once."""
    return Recipients(
        tuple(dict.fromkeys(email.lower() for email in emails)),
        tuple(dict.fromkeys(groups)),
        second.lower() if second else None,
        tuple(cards),
    )


def share_instructions(site: Site, trust: TrustPolicy, recipients: Recipients) -> bytes:
    """Of a share: recipients may collect; who stored it may update, delete and audit it, not collect."""
    return _build(site, trust, recipients, "collect", Policy.depositor_may("update", "delete", "audit"))


def invitation_instructions(site: Site, trust: TrustPolicy, invited: Recipients) -> bytes:
    """Of the invitation of a request: as of a share."""
    return share_instructions(site, trust, invited)


def box_instructions(site: Site, trust: TrustPolicy, invited: Recipients) -> bytes:
    """Of the box of a request: those invited may fill it, who stored it may do all else."""
    return _build(site, trust, invited, "fill", Policy.depositor_may("collect", "update", "delete", "audit"))


def desk_instructions(site: Site, trust: TrustPolicy) -> bytes:
    """Of a page of the desk: whoever stored it, alone."""
    rules = Policy.depositor_may("collect", "update", "delete")
    return instructions(authenticators=_authenticators(site, trust), methods=site.methods, rules=rules)


def _build(site: Site, trust: TrustPolicy, recipients: Recipients, action: Action, depositor: Policy) -> bytes:
    passkeys = _passkeys(recipients.cards) if recipients.cards else None
    people = [_people(method, recipients, passkeys, site.methods) for method in site.methods]
    rules = [one.may(action) for one in people if one is not None]
    if not rules:
        raise BadInput("no sign-in method of the site knows the groups", "name them as the site's directory lists them")
    methods: list[Method] = [*site.methods, *([passkeys] if passkeys else [])]
    return instructions(
        authenticators=_authenticators(site, trust), methods=methods, rules=reduce(or_, rules) | depositor
    )


def _people(
    method: SiteMethod, recipients: Recipients, passkeys: PasskeyMethod | None, methods: Sequence[SiteMethod]
) -> People | None:
    """The recipients, as signed in by one method of the site; None if it can sign in none of them."""
    parts: list[People] = []
    if recipients.emails and passkeys is None:
        parts.append(Policy.anyone_with_email(*recipients.emails, method=method))
    elif passkeys is not None:
        # Each with a passkey of their own: one recipient's must not open what another's e-mail account lets in.
        parts += [Policy.anyone_with_email(one, method=method).with_passkey(passkeys, one) for one in recipients.emails]
    groups = [group for group in recipients.groups if _may_be_told(group, method)]
    if groups:
        members = Policy.members_of(*groups, method=method)
        parts.append(members.with_passkey(passkeys) if passkeys else members)
    if not parts:
        return None
    if recipients.second:
        digests = [method_digest(encode(one)) for one in methods]
        parts = [people.with_second_person(recipients.second, *digests) for people in parts]
    people = People(" || ".join(f"({one.condition})" for one in parts))
    # A code may be coaxed out of somebody, which a site that sends codes takes into account.
    return people.allow_phishable() if isinstance(method, CodeMethod) else people


def _may_be_told(group: str, method: SiteMethod) -> bool:
    """Whether this method says of anybody that they are in the group."""
    match method:
        case DirectoryMethod(groups=listed):
            return group in listed
        case CodeMethod():
            return False
    return True


def _passkeys(cards: Sequence[Card]) -> PasskeyMethod:
    return passkey_method(
        cards[0].rp_id,
        list(dict.fromkeys(card.origin for card in cards)),
        [
            Passkey(
                person=card.name.lower(),
                credential_id=_unbase64url(card.credential_id),
                public_key=_unbase64url(card.public_key),
            )
            for card in cards
        ],
    )


def _authenticators(site: Site, trust: TrustPolicy) -> list[AuthenticatorRef]:
    # Recognised as the user's own policy says, whatever the site's statement holds.
    policy = encode(trust.authenticator)
    return [AuthenticatorRef(url=url, policy=policy) for url in site.authenticators]


def _verify_email(email: str) -> None:
    name, at, domain = email.partition("@")
    if not (name and at and "." in domain and "@" not in domain and email.isascii() and email.isprintable()):
        raise BadInput(f"{email[:80]!r} is not an e-mail address", "write it as somebody@example.com")
    if " " in email or len(email) > 254:
        raise BadInput(f"{email[:80]!r} is not an e-mail address", "write it as somebody@example.com")


def _verify_cards(recipients: Recipients) -> None:
    cards = recipients.cards
    if len(cards) > MAX_CARDS:
        raise BadInput(f"a share takes at most {MAX_CARDS} passkeys", "send it several times")
    if len({card.rp_id for card in cards}) > 1:
        raise BadInput("the passkeys were made for different sites", "ask each recipient for one of the same site")
    names = {card.name.lower() for card in cards}
    missing = [email for email in recipients.emails if email not in names]
    if missing:
        raise BadInput(f"there is no passkey of {', '.join(missing)}", "ask them for their card, or leave them out")
    if not recipients.groups:
        stray = sorted(names - set(recipients.emails))
        if stray:
            raise BadInput(f"the passkey of {', '.join(stray)} is of nobody whom this is for", "leave it out")


def _unbase64url(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise BadInput("a passkey card holds what is not base64url", "ask for the card again") from None
