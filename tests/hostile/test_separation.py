"""Vault and Authenticator, each a program of its own: whoever took over one would find nothing of the other's there.

Not argued but searched: real processes, and everything that they hold in memory. What each must hold is planted, too,
so that a search that finds nothing because it does not work is found out.
"""

import os
from base64 import b64encode

import msgspec
import pytest

from bench.scene import NAMESPACE, Scene, scene
from bench.wire import Wire
from strongroom.protocol.codec import encode
from strongroom.protocol.instructions import bound_nonce, method_digest
from strongroom.protocol.messages import OfNamespace, Ticket
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.sign_in_messages import Redeem
from strongroom.protocol.vault_messages import Collect, Describe, Item
from tests.support.issuer import REDIRECT
from tests.support.memory import held, spellings

TIMES = 5
"""What is done once may have been overwritten by chance before it is looked for."""


def marker() -> bytes:
    return os.urandom(24).hex().encode()


RULE = marker().decode()
RULES = f"""
permit (principal, action in [Action::"collect", Action::"update", Action::"delete"], resource)
when {{ context.identity.subject != "{RULE}" }};
"""
SIGN_IN = {"code": marker(), "verifier": marker(), "token": marker()}
"""Authorization code, PKCE verifier, and a claim inside the ID token: what a sign-in is made of."""
STORED = {"secret": marker(), "metadata": marker()}


async def signed_in(it: Scene, binding: SigningKey, vault: Wire) -> Ticket:
    described = await vault.ask(Describe(address=OfNamespace(namespace=NAMESPACE), tickets=[]))
    digest, salt = method_digest(encode(it.method)), os.urandom(32)
    it.issuer.nonce = bound_nonce(digest, binding.public, salt)
    it.issuer.claims = {"planted": SIGN_IN["token"].decode()}
    desk = await it.wire("authenticator", binding)
    reply = await desk.ask(
        Redeem(
            vault_cluster=it.clusters["vault"],
            capsule=described.authenticators[0].capsule,
            method=digest,
            channel="native",
            redirect_uri=REDIRECT,
            code=SIGN_IN["code"].decode(),
            code_verifier=SIGN_IN["verifier"].decode(),
            salt=salt,
            with_ticket=None,
        )
    )
    desk.close()
    return reply.ticket


async def test_neither_enclave_ever_holds_what_is_the_others():
    async with scene() as it:
        binding = SigningKey.generate()
        vault = await it.wire("vault", binding)
        for _ in range(TIMES):
            ticket = await signed_in(it, binding, vault)
            request = it.store(ticket, [os.urandom(16)], it.instructions(RULES))
            item = msgspec.structs.replace(request.items[0], secret=STORED["secret"], metadata=STORED["metadata"])
            await vault.ask(msgspec.structs.replace(request, items=[item]))
            collect = Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[item.address])
            reply = await vault.ask(collect)
            assert isinstance(reply.results[0], Item)
            assert reply.results[0].secret == STORED["secret"]
        planted = SIGN_IN | STORED | {"rules": RULE.encode()}
        try:
            of_vault, of_authenticator = held(it.vault.pids, planted), held(it.authenticator.pids, planted)
        except PermissionError:
            pytest.skip("this machine lets nobody read the memory of its own processes")
        assert "rules" in of_vault, "the search does not find what is there"
        assert "rules" in of_authenticator, "the search does not find what is there"
        assert STORED.keys() & of_vault, "the search does not find a secret where one was"
        assert SIGN_IN.keys() & of_authenticator, "the search does not find a credential where one was"
        assert not SIGN_IN.keys() & of_vault
        assert not STORED.keys() & of_authenticator


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
def test_the_search_knows_every_spelling(before):
    planted = marker()
    whole = before + planted + b" after"
    for text in (whole, whole.hex().encode(), whole.decode().encode("utf-16-le"), b64encode(whole)):
        assert any(form in text for form in spellings(planted))
