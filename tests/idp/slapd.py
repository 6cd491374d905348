"""A real OpenLDAP server, slapd, on loopback. Nothing is left of it when it has stopped.

`flat` knows of groups that somebody is in directly (overlay memberof), `nested` also of those around them (dynlist),
and `plain` has no `memberOf`. alice is in engineers, those are in staff, and those in vpn; carol's password was reset,
so she must change it first. A comma stands in the name of "Smith, John".
"""

import contextlib
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, Self

from tests.idp.certificates import Authority
from tests.idp.samba import wait_for_port
from tools import directories

PASSWORD = "Correct-Horse-1"
BASE = "dc=example,dc=test"
USER_DN = f"uid={{}},ou=people,{BASE}"
LOCKED_AFTER = 5
NAME = "ldap.test"
ADDRESS = "127.0.0.1"

Mode = Literal["flat", "nested", "plain"]
_OVERLAYS = {
    "flat": ("memberof", "overlay memberof\nmemberof-refint TRUE"),
    "nested": ("dynlist", "overlay dynlist\ndynlist-attrset groupOfURLs memberURL member+memberOf@groupOfNames*"),
    "plain": ("dynlist", ""),
}
_SCHEMAS = Path("/etc/ldap/schema")
_MODULES = Path("/usr/lib/ldap")
_ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])}


def missing() -> str | None:
    """Why slapd can't run here, or None."""
    lacking = [*directories.missing(directories.SLAPD), *(str(p) for p in (_SCHEMAS, _MODULES) if not p.is_dir())]
    if lacking:
        return f"there is no slapd here ({lacking[0]}; `make test` installs it where it is root)"
    return None


def group(name: str) -> str:
    return f"cn={name},ou=groups,{BASE}"


def _person(uid: str, escaped: str = "", more: str = "") -> str:
    return (
        f"dn: {USER_DN.format(escaped or uid)}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n"
        f"userPassword: {PASSWORD}\n{more}\n"
    )


def _group(mode: Mode, name: str, member: str, *around: str) -> str:
    # slapadd runs no overlay, so what memberof would have written stands here.
    member_of = "".join(f"memberOf: {group(outer)}\n" for outer in around) if mode == "flat" else ""
    return f"dn: {group(name)}\nobjectClass: groupOfNames\ncn: {name}\nmember: {member}\n{member_of}\n"


def _seed(mode: Mode) -> str:
    in_engineers = f"memberOf: {group('engineers')}\n" if mode == "flat" else ""
    units = "".join(
        f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\n\n" for unit in ("people", "groups", "policies")
    )
    chain = "".join(
        _group(mode, f"level{number}", group(f"level{number - 1}") if number else USER_DN.format("deep"))
        for number in range(20)
    )
    return (
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n\n{units}"
        f"dn: cn=default,ou=policies,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\n"
        f"pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: {LOCKED_AFTER}\npwdLockoutDuration: 300\n"
        "pwdMustChange: TRUE\n\n"
        + _person("alice", more="mail: Alice@Example.test\n" + in_engineers)
        + _person("bob", more="mail: bob@elsewhere.example\n")
        + _person("carol", more="pwdReset: TRUE\n")
        + _person("two", more="mail: two@example.test\nmail: another@example.test\n")
        + _person("Smith, John", escaped="Smith\\, John")
        + _person("lockable")
        + _person("deep")
        + _group(mode, "engineers", USER_DN.format("alice"), "staff")
        + _group(mode, "staff", group("engineers"), "vpn")
        + _group(mode, "vpn", group("staff"))
        + _group(mode, "others", USER_DN.format("bob"))
        + chain
    )


def _configuration(folder: Path, mode: Mode) -> str:
    module, overlay = _OVERLAYS[mode]
    schemas = ("core", "cosine", "inetorgperson", "nis", "dyngroup")
    return (
        "".join(f"include {_SCHEMAS}/{name}.schema\n" for name in schemas)
        + f"modulepath {_MODULES}\nmoduleload back_mdb\nmoduleload {module}\nmoduleload ppolicy\n"
        f"pidfile {folder}/slapd.pid\nTLSCACertificateFile {folder}/tls/ca.pem\n"
        f"TLSCertificateFile {folder}/tls/cert.pem\nTLSCertificateKeyFile {folder}/tls/key.pem\nTLSProtocolMin 3.3\n"
        f'security simple_bind=128\ndisallow bind_anon\ndatabase mdb\nsuffix "{BASE}"\n'
        f'rootdn "cn=admin,{BASE}"\nrootpw admin-pw\ndirectory {folder}/db\nmaxsize 67108864\n'
        f"index objectClass,uid,member eq\n{overlay}\noverlay ppolicy\n"
        f'ppolicy_default "cn=default,ou=policies,{BASE}"\n'
        "access to attrs=userPassword by self write by anonymous auth by * none\naccess to * by users read\n"
    )


class Slapd:
    """One running server; a context manager too. The kernel ends it with this process."""

    def __init__(self, mode: Mode = "flat") -> None:
        self._mode = mode
        self._authority = Authority("slapd's authority")
        self.ca = self._authority.pem
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ldaps(self) -> str:
        return f"ldaps://{ADDRESS}:{self._tls_port}"

    @property
    def ldap(self) -> str:
        """To be secured by StartTLS."""
        return f"ldap://{ADDRESS}:{self._port}"

    @property
    def knows_nested(self) -> bool:
        """True when `memberOf` has groups around groups, too."""
        return self._mode == "nested"

    @property
    def ldaps_port(self) -> int:
        return self._tls_port

    def start(self) -> Self:
        self._kept = tempfile.TemporaryDirectory(prefix="strongroom-slapd-")
        folder = Path(self._kept.name)
        (folder / "db").mkdir()
        self._authority.issue(folder / "tls", ADDRESS, NAME)
        configuration = folder / "slapd.conf"
        configuration.write_text(_configuration(folder, self._mode))
        (folder / "seed.ldif").write_text(_seed(self._mode))
        add = ["slapadd", "-f", str(configuration), "-l", str(folder / "seed.ldif")]
        done = subprocess.run(add, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"slapadd:\n{done.stderr[-2000:]}")
        self._port, self._tls_port = _free_ports(2)
        listen = f"ldap://{ADDRESS}:{self._port} ldaps://{ADDRESS}:{self._tls_port}"
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "slapd", "-f", str(configuration), "-d", "0", "-h", listen],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(self._process, ADDRESS, self._tls_port)
        except RuntimeError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._kept.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for taken in sockets:
            taken.bind((ADDRESS, 0))
        return [taken.getsockname()[1] for taken in sockets]
