"""Sign-in with an ssh key: what is signed is a challenge that this client computed for its own session, under a
namespace of its own. Whoever has the key sign for them signs in: see `client.ssh_signing`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.client.ssh_signing import SshSigner
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.instructions import KeysPublic
from strongroom.protocol.primitives import fingerprint

NAMESPACE: Final = "strongroom"


class KeySignIn(SshSigner):
    """Signs in with the key in `path`. Raises `BadInput`."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, NAMESPACE)

    def fits(self, method: Method) -> bool:
        public = method.public
        return isinstance(public, KeysPublic) and fingerprint(self.public_key) in public.fingerprints

    async def run(self, flow: Flow) -> wire.SignedIn:
        ceremony = await flow.begin_ceremony()
        return await flow.server.ask(
            wire.KeySignIn(
                capsule=flow.place.capsule,
                handle=ceremony.handle,
                public_key=self.public_key,
                signature=await self.sign(ceremony.challenge),
                with_ticket=flow.with_ticket,
            ),
            wire.SignedIn,
        )
