"""Vectors of instructions and of rules."""

from __future__ import annotations

from typing import Any, get_args

from basics import INSTRUCTIONS, METHOD, PASSKEYS, RULES
from case import Case, Cases, accepted, refused
from msgspec import structs

from strongroom.protocol.codec import encode
from strongroom.protocol.errors import Number
from strongroom.protocol.instructions import Action, Instructions, Passkey, PasskeyMethod, parse_method


def instructions() -> Cases:
    here, run = "instructions/", "parse instructions"
    fields = {name: getattr(INSTRUCTIONS, name) for name in INSTRUCTIONS.__struct_fields__}

    def changed(**changes: Any) -> bytes:
        return encode(Instructions(**fields | changes))

    yield accepted(here + "good", "one Authenticator, one method", run, {"instructions": encode(INSTRUCTIONS)})
    twice = INSTRUCTIONS.authenticators * 2
    yield accepted(here + "quorum-of-two", "two of two", run, {"instructions": changed(authenticators=twice, quorum=2)})
    beside = changed(methods=[METHOD, PASSKEYS])
    yield accepted(here + "with-passkeys", "a provider and passkeys", run, {"instructions": beside})
    invalid = Number.INSTRUCTIONS_INVALID
    later = encode(INSTRUCTIONS).replace(b"schema_version\x01", b"schema_version\x02")
    bad = {
        "quorum-too-large": ("two of one", changed(quorum=2), invalid),
        "quorum-of-none": ("a quorum of zero", changed(quorum=0), invalid),
        "no-authenticator": ("nobody to ask", changed(authenticators=[]), invalid),
        "no-method": ("no way to sign in", changed(methods=[]), invalid),
        "method-twice": ("a method listed twice", changed(methods=[METHOD, METHOD]), invalid),
        "schema-of-tomorrow": ("a schema version that is not published", later, Number.UNSUPPORTED),
        "trailing-byte": ("a byte after the end", encode(INSTRUCTIONS) + b"\x00", invalid),
        "method-not-encoded": ("a method that does not parse", changed(methods=[b"\x80"]), Number.METHOD_INVALID),
        "method-of-tomorrow": (
            "a kind of method that is not published",
            changed(methods=[METHOD.replace(b"\xa4oidc", b"\xa4saml")]),
            Number.METHOD_INVALID,
        ),
        "passkeys-of-nobody": (
            "a passkey method without passkeys",
            changed(methods=[encode(structs.replace(_passkeys(), passkeys=[]))]),
            Number.METHOD_INVALID,
        ),
        "passkey-without-credential-id": (
            "a passkey whose credential id is empty",
            changed(methods=[encode(structs.replace(_passkeys(), passkeys=[_unnamed()]))]),
            Number.METHOD_INVALID,
        ),
        "method-algorithm-none": (
            "a method that accepts unsigned tokens",
            changed(methods=[METHOD.replace(b"\xa5RS256", b"\xa4none")]),
            Number.METHOD_INVALID,
        ),
    }
    for name, (what, data, number) in bad.items():
        yield refused(here + name, what, run, {"instructions": data}, number, "instructions")


def _passkeys() -> PasskeyMethod:
    method = parse_method(PASSKEYS)
    assert isinstance(method, PasskeyMethod)
    return method


def _unnamed() -> Passkey:
    return structs.replace(_passkeys().passkeys[0], credential_id=b"")


def _one_of(issuers: int) -> str:
    """A policy of 2 × issuers + 22 words, strings, numbers and signs."""
    listed = ",".join(['"a"'] * issuers)
    return f"permit (principal, action, resource) when {{ [{listed}].contains(context.identity.issuer) }};\n"


def rules() -> Cases:
    here, run = "rules/", "verify rules"
    yield accepted(
        here + "good",
        "a recipient by address, and the depositor",
        run,
        {"rules": RULES},
        permitted=["collect", "delete", "update"],
    )
    anything = "permit (principal, action, resource);"
    every_action = sorted(get_args(Action))
    yield accepted(here + "permit-all", "one policy for every action", run, {"rules": anything}, permitted=every_action)
    forbid = anything + '\nforbid (principal, action == Action::"delete", resource);'
    yield accepted(
        here + "forbid-one",
        "an unconditional forbid takes an action away from everybody",
        run,
        {"rules": forbid},
        permitted=[a for a in every_action if a != "delete"],
    )
    email = 'context.identity.email == "a@b.example"'
    yield accepted(
        here + "longest",
        "4 000 words, strings, numbers and signs, 1 000 a policy",
        run,
        {"rules": _one_of(489) * 4},
        permitted=every_action,
    )
    second = 'context.identity.other_emails.containsAny(["METHOD carol@example.com"]) && context.identity has email'
    yield accepted(
        here + "second-person",
        "a passkey beside, and a second person with another address",
        run,
        {
            "rules": 'permit (principal, action in [Action::"collect", Action::"fill"], resource) when {\n'
            '  context.identity.others.contains("METHOD:bob@example.com") &&\n'
            f'  {second} && context.identity.email != "carol@example.com"\n}};\n'
        },
        permitted=["collect", "fill"],
    )
    yield accepted(
        here + "approvals",
        "two others approved, in working hours, and the deputy after a month",
        run,
        {
            "rules": 'permit (principal, action == Action::"collect", resource) when {\n'
            "  context.record.approval_count >= 2 && context.record has minute_of_day &&\n"
            "  context.record.minute_of_day >= 480 && context.record.minute_of_day < 1080\n};\n"
            'permit (principal, action in [Action::"ask", Action::"approve"], resource)\n'
            'when { context.identity.kind == "keys" && context.identity has auth_age'
            " && context.identity.auth_age < 300 };\n"
            'permit (principal, action == Action::"update", resource)\n'
            "when { context.record has idle_days && context.record.idle_days >= 30 };\n"
        },
        permitted=["approve", "ask", "collect", "update"],
    )
    bad = {
        "empty": ("no policy", ""),
        "comment-only": ("a comment and no policy", "// nobody"),
        "not-cedar": ("does not parse", "permit everything;"),
        "unknown-action": (
            "an action that the schema lacks",
            'permit (principal, action == Action::"read", resource);',
        ),
        "unknown-attribute": (
            "a misspelt attribute after `has` would make a forbid vanish",
            anything + "\nforbid (principal, action, resource) when { context.identity has fishable };",
        ),
        "attribute-of-another-type": (
            "`has` of an attribute that another type has is false without an error: a forbid would vanish",
            anything + "\nforbid (principal, action, resource) when { context has phishable && context.phishable };",
        ),
        "escaped-attribute": (
            "a name that the text does not hold hides from a Vault that looks for it",
            anything
            + "\nforbid (principal, action, resource)"
            + ' when { context.record has "idle\\u{5f}days" && context.record["idle\\u{5f}days"] < 3 };',
        ),
        "others-of-the-record": (
            "`others` is of the identity",
            anything + "\nforbid (principal, action, resource) when { context.record has others };",
        ),
        "others-as-a-text": (
            "`others` is a set",
            'permit (principal, action, resource) when { context.identity.others == "METHOD:bob@example.com" };',
        ),
        "attribute-of-a-person": (
            "people have no attributes",
            anything + "\nforbid (principal, action, resource) when { principal has email };",
        ),
        "tag": (
            "nothing has tags",
            anything + '\nforbid (principal, action, resource) when { principal.hasTag("a") };',
        ),
        "person-in-person": (
            "people are in nothing",
            anything + '\nforbid (principal in Person::"x", action, resource);',
        ),
        "compares-two-types": (
            "a person is never a record",
            anything + "\nforbid (principal, action, resource) when { principal == resource };",
        ),
        "policy-too-long": ("1 002 words, strings, numbers and signs in one policy", _one_of(490)),
        "too-long": ("4 080 of them in all", _one_of(397) * 5),
        "optional-unguarded": (
            "an optional attribute without `has` could fail when it is evaluated",
            f"permit (principal, action, resource) when {{ {email} }};",
        ),
        "record-by-name": (
            "names a record: it would be evaluated for another of the same batch",
            'permit (principal, action, resource == Record::"r");',
        ),
        "template": ("a template", "permit (principal == ?principal, action, resource);"),
        "permits-nobody": ("only a forbid", "forbid (principal, action, resource);"),
        "nested-too-deeply": (
            "brackets that would overflow the parser's stack",
            "permit (principal, action, resource) when { " + "(" * 500 + "true" + ")" * 500 + " };",
        ),
    }
    for name, (what, text) in bad.items():
        yield refused(here + name, what, run, {"rules": text}, Number.RULES_INVALID, "rules")


def every() -> list[Case]:
    return [*instructions(), *rules()]
