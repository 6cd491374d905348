"""Who uses the Vault that is attacked: people with keys in files, one of whom has a security key in software."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256, sha512
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from strongroom.client.methods import keys_method
from strongroom.client.results import Method
from strongroom.client.sign_in.flow import Flow
from strongroom.client.sign_in.keys import NAMESPACE, KeySignIn
from strongroom.protocol import sign_in_messages as wire
from strongroom.protocol.instructions import KeysMethod, KeysPublic
from strongroom.protocol.primitives import fingerprint

DEPOSITOR: Final = "alice"
RECIPIENT: Final = "bob"
OUTSIDER: Final = "mallory"
TOUCHER: Final = "dora"
"""Has the security key."""

_KIND: Final = b"sk-ssh-ed25519@openssh.com"
_APPLICATION: Final = b"ssh:"
_TOUCHED: Final = b"\x01"


class SecurityKey:
    """A way to sign in: what a security key under OpenSSH signs, by a key in memory whose counter is ours to choose."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.counter = 1

    @property
    def line(self) -> str:
        return f"{_KIND.decode()} {b64encode(self._public).decode()}"

    @property
    def _public(self) -> bytes:
        return _strings(_KIND, self._private.public_key().public_bytes_raw(), _APPLICATION)

    def fits(self, method: Method) -> bool:
        public = method.public
        return isinstance(public, KeysPublic) and fingerprint(self._public) in public.fingerprints

    async def run(self, flow: Flow) -> wire.SignedIn:
        ceremony = await flow.begin_ceremony()
        hashed = sha512(ceremony.challenge).digest()
        message = b"SSHSIG" + _strings(NAMESPACE.encode(), b"", b"sha512", hashed)
        said = _TOUCHED + self.counter.to_bytes(4, "big")
        signed = sha256(_APPLICATION).digest() + said + sha256(message).digest()
        return await flow.server.ask(
            wire.KeySignIn(
                capsule=flow.place.capsule,
                handle=ceremony.handle,
                public_key=self._public,
                signature=_strings(_KIND, self._private.sign(signed)) + said,
                with_ticket=flow.with_ticket,
            ),
            wire.SignedIn,
        )


class People:
    """Keys of everybody, in files below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.security_key = SecurityKey()
        self._ways = {name: _make_key(directory / name) for name in (DEPOSITOR, RECIPIENT, OUTSIDER)}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._ways)

    @property
    def method(self) -> KeysMethod:
        """How they all sign in."""
        lines = {name: way.line for name, way in self._ways.items()}
        return keys_method({**lines, TOUCHER: self.security_key.line})

    def way(self, name: str) -> KeySignIn | SecurityKey:
        return self.security_key if name == TOUCHER else self._ways[name]


def _make_key(path: Path) -> KeySignIn:
    private = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return KeySignIn(path)


def _strings(*fields: bytes) -> bytes:
    """RFC 4251 §5."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)
