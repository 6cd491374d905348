"""Signatures by ssh keys, in OpenSSH's own format (PROTOCOL.sshsig): a private key in a file, one that an agent holds,
or a security key.

Each use has a namespace of its own, so that nothing that was signed for one is ever another, nor a login or a commit.
Whoever has the key sign for them, as the administrator of a machine to which an agent is forwarded can, has the
signature: forward no agent.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import stat
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from strongroom.client.errors import BadInput
from strongroom.client.methods import ssh_keys
from strongroom.client.results import fingerprint_text
from strongroom.protocol.errors import Misuse, Number, Refused
from strongroom.protocol.primitives import fingerprint
from strongroom.protocol.sshsig import key_line

_HASH: Final = b"sha512"
_MAX_FILE: Final = 64 * 1024
_SECONDS: Final = 300.0
"""For the user to touch a key or type a passphrase: as long as a challenge counts."""
_ARMOUR: Final = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END SSH SIGNATURE-----(?:\r?\n)?"
)
_TYPES: Final = "an ssh-ed25519, ecdsa-sha2-nistp256 or security key (sk-)"

_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class SshSigner:
    """Signs with the key in `path`: a private key as ssh-keygen or openssl writes it, or the `.pub` of one that an
    agent holds. Raises `BadInput`.

    A file without a passphrase is read here. A passphrase, an agent and a security key are left to `ssh-keygen`, which
    asks its user on the terminal.
    """

    def __init__(self, path: str | Path, namespace: str) -> None:
        self._path: Final = Path(path).expanduser()
        self._public_key, self._sign = _signer(self._path, namespace)

    @property
    def public_key(self) -> bytes:
        """As OpenSSH writes it, decoded."""
        return self._public_key

    @property
    def line(self) -> str:
        """As in an `authorized_keys` file, without a comment."""
        return key_line(self._public_key)

    @property
    def title(self) -> str:
        """Which key it is, for people."""
        return f"{self._path} is {fingerprint_text(fingerprint(self._public_key))}"

    async def sign(self, message: bytes) -> bytes:
        """The signature field of an SSHSIG blob, as `protocol.sshsig.verify_sshsig` takes it. Raises `BadInput`, also
        where there is nobody to type a passphrase, and `Refused` SIGN_IN_REFUSED when nobody touched or typed anything
        in time."""
        return await self._sign(message)


def read_signature(armoured: bytes, namespace: str) -> tuple[bytes, bytes]:
    """Public key and signature field of what `ssh-keygen -Y sign` wrote for this namespace; verified by nobody yet.

    Raises `BadInput`.
    """
    found = _ARMOUR.fullmatch(armoured)
    try:
        blob = b64decode(found[1]) if found else b""
    except ValueError:
        blob = b""
    start = b"SSHSIG" + (1).to_bytes(4, "big")
    fields = _strings(blob[len(start) :]) if blob.startswith(start) else []
    if len(fields) != 5:
        raise BadInput(
            "this is no signature as ssh-keygen writes it",
            f"make it: ssh-keygen -Y sign -n {namespace} -f KEY FILE",
        )
    public_key, signed_for, reserved, algorithm, signature = fields
    if (signed_for, reserved, algorithm) != (namespace.encode(), b"", _HASH):
        raise BadInput(
            f"the signature was made for {signed_for.decode('utf-8', 'replace')!r}, or in another way",
            f"make it: ssh-keygen -Y sign -n {namespace} -O hashalg=sha512 -f KEY FILE",
        )
    return public_key, signature


_Sign = Callable[[bytes], Awaitable[bytes]]


def _signer(path: Path, namespace: str) -> tuple[bytes, _Sign]:
    """Public key, and what signs with it."""
    data = _read(path)
    if data.startswith(b"-----BEGIN "):
        _verify_private(path)
        private = _load(path, data)
        if private is not None:
            public_key = _public_key(private)

            async def sign(message: bytes) -> bytes:
                return _sign_here(private, public_key, message, namespace)

            return public_key, sign
        listed = path.with_name(f"{path.name}.pub")
        if not listed.exists():
            raise BadInput(f"there is no {listed}", f"make it: ssh-keygen -y -f {path} > {listed}")
        data = _read(listed)
    public_key = _listed_key(path, data)

    async def have_signed(message: bytes) -> bytes:
        return await _sign_by_keygen(path, public_key, message, namespace)

    return public_key, have_signed


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise BadInput(f"can't read the key {path}: {error.strerror}", "name a private key, or a .pub") from None


def _verify_private(path: Path) -> None:
    if sys.platform != "win32" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(f"others can read the key {path}", f"chmod 600 {path}, and make a new key if somebody has")


def _load(path: Path, data: bytes) -> _Private | None:
    """None for what takes a passphrase or a device: `ssh-keygen` knows how to ask for those."""
    load = load_ssh_private_key if data.startswith(b"-----BEGIN OPENSSH") else load_pem_private_key
    try:
        private = load(data, None)
    except (TypeError, UnsupportedAlgorithm):
        return None
    except ValueError as error:
        # The one word that `cryptography` has for a passphrase that is missing in this format.
        if "password-protected" in str(error) or b"ENCRYPTED" in data:
            return None
        raise BadInput(f"{path} is no private key", f"name {_TYPES}") from None
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return private
    raise BadInput(f"{path} is a key of another type", f"name {_TYPES}")


def _public_key(private: _Private) -> bytes:
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return b64decode(line.split()[1])


def _listed_key(path: Path, data: bytes) -> bytes:
    try:
        (public_key,) = ssh_keys(data.decode("utf-8", "replace"))
    except (Misuse, ValueError):
        raise BadInput(f"{path} is no key that signs here", f"name {_TYPES}: its file, or its .pub alone") from None
    return public_key


def _sign_here(private: _Private, public_key: bytes, message: bytes, namespace: str) -> bytes:
    signed = b"SSHSIG" + b"".join(map(_string, (namespace.encode(), b"", _HASH, hashlib.sha512(message).digest())))
    if isinstance(private, ed25519.Ed25519PrivateKey):
        signature = private.sign(signed)
    else:
        r, s = decode_dss_signature(private.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = b"".join(_string(number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (r, s))
    (kind, *_) = _strings(public_key)
    return _string(kind) + _string(signature)


async def _sign_by_keygen(path: Path, public_key: bytes, message: bytes, namespace: str) -> bytes:
    command = ("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-O", f"hashalg={_HASH.decode()}", "-f", str(path))
    try:
        # Its standard error is the user's: there it asks for passphrases and touches.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise BadInput(f"can't run ssh-keygen: {error.strerror}", "install OpenSSH 8.9 or newer") from None
    try:
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate(message)
    except TimeoutError:
        raise Refused(Number.SIGN_IN_REFUSED, f"ssh-keygen did not sign within {_SECONDS:.0f} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise BadInput(
            f"ssh-keygen did not sign with {path}; see what it said",
            f"it asks for a passphrase on a terminal; without one have an agent hold the key: ssh-add {path}",
        )
    try:
        signed_by, signature = read_signature(output, namespace)
    except BadInput:
        signed_by, signature = b"", b""
    if signed_by != public_key:
        raise BadInput("ssh-keygen signed with another key, or for something else", "see what ssh-add -L lists")
    return signature


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _strings(data: bytes) -> list[bytes]:
    """All fields (RFC 4251 §5) of what has only such."""
    fields: list[bytes] = []
    while data:
        size = 4 + int.from_bytes(data[:4], "big")
        if len(data) < size:
            return []
        fields.append(data[4:size])
        data = data[size:]
    return fields
