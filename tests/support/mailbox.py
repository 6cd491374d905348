"""A mail server on loopback, TLS from the first byte, whose mailboxes tests look into: aiosmtpd in its own thread."""

import asyncio
import datetime
import ipaddress
import re
import ssl
import tempfile
import threading
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SECONDS = 20


class Mailbox:
    """A context manager. `url` and `certificates` are what a method of codes names; nothing is sent on."""

    def __init__(self):
        self._mails = {}
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self.certificates, self._key = self_signed()

    def __enter__(self):
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: SMTP(self, loop=self._loop), "127.0.0.1", 0, ssl=self._tls())
        )
        self.url = f"smtps://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def handle_DATA(self, server, session, envelope):  # as aiosmtpd calls it
        with self._changed:
            for recipient in envelope.rcpt_tos:
                self._mails.setdefault(recipient, []).append(message_from_bytes(envelope.content, policy=default))
            self._changed.notify_all()
        return "250 kept"

    def count(self, address):
        """How many mails came to an address."""
        with self._changed:
            return len(self._mails.get(address, []))

    def code(self, address, nth=1):
        """The code in the nth mail to an address, once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._mails.get(address, [])) >= nth, SECONDS), "no mail came"
            (code,) = re.findall(r"^\s*([0-9]{8})\s*$", self._mails[address][nth - 1].get_content(), re.M)
            return code

    def _tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder) / "server.pem"
            both.write_bytes(self._key + self.certificates)
            context.load_cert_chain(both)
        return context


def self_signed():
    """Certificate and key for this machine, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mail server of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret
