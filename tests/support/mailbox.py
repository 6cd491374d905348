"""A mail server on loopback, TLS from the first byte, whose mailboxes tests look into: aiosmtpd in its own thread."""

import asyncio
import re
import ssl
import tempfile
import threading
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from aiosmtpd.smtp import SMTP

from tests.idp.certificates import Authority

SECONDS = 20


class Mailbox:
    """A context manager. `url` and `certificates` are what a method of codes names; nothing is sent on."""

    def __init__(self):
        self._mails = {}
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._authority = Authority("a mail server's authority")
        self.certificates = self._authority.pem

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(self, kind, error, trace):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: SMTP(self, loop=self._loop), "127.0.0.1", 0, ssl=self._tls())
        self.url = f"smtps://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()

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
            self._authority.issue(Path(folder), "127.0.0.1")
            context.load_cert_chain(Path(folder) / "cert.pem", Path(folder) / "key.pem")
        return context
