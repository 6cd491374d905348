"""A real Active Directory domain controller, Samba, on a loopback address of its own.

`Samba.start` begins with a copy of a domain that is provisioned once a process (some 10 seconds). Nothing is left of
either when the process ends.

People, all with the password `PASSWORD`: alice is in engineers, those are in staff, and those in vpn; bob is in others;
carol is disabled, dave must change his password, erin's account has expired; and frank's principal name is another than
his account's.
"""

import base64
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.idp.certificates import Authority
from tools import directories

PASSWORD = "Correct-Horse-1"
BASE = "DC=ad,DC=test"
DOMAIN = "ADTEST"
LOCKED_AFTER = 5
"""Wrong passwords."""
NAME = "dc1.ad.test"

_NORMAL, _DISABLED = 512, 514
_READY_SECONDS = 60
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_ENVIRONMENT = {**os.environ, "PATH": _PLACES}


def missing() -> str | None:
    """Why no domain controller can run here, or None."""
    if os.geteuid() != 0:
        return "only root may serve LDAP's own port"
    if lacking := directories.missing(directories.SAMBA):
        return f"there is no Samba here ({lacking[0]}; `make test` installs it where it is root)"
    return None


def dn(name: str) -> str:
    return f"CN={name},CN=Users,{BASE}"


def _person(account: str, *, principal: str = "", name: str = "", flags: int = _NORMAL, more: str = "") -> str:
    password = base64.b64encode(f'"{PASSWORD}"'.encode("utf-16-le")).decode()
    return (
        f"dn: {dn(name or account)}\nobjectClass: user\nsAMAccountName: {account}\n"
        f"userPrincipalName: {principal or account + '@ad.test'}\nuserAccountControl: {flags}\n"
        f"unicodePwd:: {password}\n{more}\n"
    )


def _group(name: str, *members: str) -> str:
    return (
        f"dn: {dn(name)}\nobjectClass: group\nsAMAccountName: {name}\n"
        + "".join(f"member: {member}\n" for member in members)
        + "\n"
    )


_PEOPLE = (
    _person("alice", name="Alice Liddell", more="mail: Alice@AD.test\n")
    + _person("bob", more="mail: bob@elsewhere.example\n")
    + _person("carol", flags=_DISABLED)
    + _person("dave", more="pwdLastSet: 0\n")
    + _person("erin", more="accountExpires: 1\n")
    + _person("frank", principal="frank.elsewhere@ad.test")
    + "".join(_person(f"lockable{number}") for number in range(4))
    + _group("engineers", dn("Alice Liddell"))
    + _group("staff", dn("engineers"))
    + _group("vpn", dn("staff"))
    + _group("others", dn("bob"))
)
_SETTINGS = (
    f"dn: {BASE}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: {LOCKED_AFTER}\n"
    "-\nreplace: maxPwdAge\nmaxPwdAge: 0\n\n"
)


@functools.cache
def _authority() -> Authority:
    return Authority("Samba's authority")


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    """A provisioned domain. The object removes its folder when the process ends."""
    kept = tempfile.TemporaryDirectory(prefix="strongroom-samba-")
    folder = Path(kept.name)
    nothing = folder / "nothing.conf"
    nothing.write_text("[global]\n")  # or /etc/samba/smb.conf would count
    _run(
        *("samba-tool", "domain", "provision", "--realm=AD.TEST", f"--domain={DOMAIN}", "--server-role=dc"),
        *("--dns-backend=SAMBA_INTERNAL", "--adminpass=Administrator-1", "--host-name=dc1", "--host-ip=127.0.0.1"),
        *(f"--targetdir={folder}", "-s", str(nothing), "--option=interfaces=lo", "--option=bind interfaces only=yes"),
    )
    database = folder / "private" / "sam.ldb"
    configured = f"--configfile={folder}/etc/smb.conf"
    _run("ldbadd", "-H", str(database), configured, text=_PEOPLE)
    _run("ldbmodify", "-H", str(database), configured, text=_SETTINGS)
    return kept


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(
        command, input=text, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0 or "ERR:" in done.stdout:  # ldbadd ends with 0 whatever happens
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-2000:]}")


class Samba:
    """One running domain controller; a context manager too. It ends with this process, which holds its stdin."""

    def __init__(self) -> None:
        # Its ports are fixed, so each gets an address: other test runs on this machine have theirs.
        self.address = f"127.{random.randint(2, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        self.ca = _authority().pem
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ldaps(self) -> str:
        return f"ldaps://{self.address}"

    @property
    def ldap(self) -> str:
        """To be secured by StartTLS."""
        return f"ldap://{self.address}"

    def start(self) -> Self:
        template = Path(_template().name)
        self._kept = tempfile.TemporaryDirectory(prefix="strongroom-samba-")
        folder = Path(self._kept.name) / "dc"
        shutil.copytree(template, folder, symlinks=True)
        configuration = folder / "etc" / "smb.conf"
        text = configuration.read_text().replace(str(template), str(folder))
        configuration.write_text(text.replace("interfaces = lo", f"interfaces = {self.address}/8"))
        tls = folder / "private" / "tls"
        shutil.rmtree(tls, ignore_errors=True)
        _authority().issue(tls, self.address, NAME)
        for name in ("log", "run", "ncalrpc", "wb"):
            (folder / name).mkdir(exist_ok=True)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [
                *("samba", "-i", "-M", "single", "-s", str(configuration), "--debug-stdout", "-d", "1"),
                *("-l", str(folder / "log"), f"--option=pid directory={folder / 'run'}"),
                *(f"--option=ncalrpc dir={folder / 'ncalrpc'}", f"--option=winbindd socket directory={folder / 'wb'}"),
                *("--option=server services=ldap", "--option=ldap server require strong auth=allow_sasl_over_tls"),
            ],
            env=_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for_port(self._process, self.address, 636)
        except RuntimeError as error:
            self._log.seek(0)
            log = self._log.read().decode(errors="replace")[-2000:]
            self.stop()
            raise RuntimeError(f"{error}:\n{log}") from None
        return self

    def object_guid(self, account: str) -> str:
        """As Samba's own tools show it."""
        database = Path(self._kept.name) / "dc" / "private" / "sam.ldb"
        found = subprocess.run(
            ["ldbsearch", "-H", str(database), f"(sAMAccountName={account})", "objectGUID"],
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        return next(line for line in found.stdout.splitlines() if line.startswith("objectGUID: ")).split()[1]

    def freeze(self) -> None:
        """It keeps its connections, and says nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """As a machine that loses its power."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.close()
        self._kept.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_for_port(process: subprocess.Popen[bytes], address: str, port: int) -> None:
    """Until a server listens there. Raises RuntimeError when it ends or takes too long."""
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection((address, port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server does not listen")
