"""`python -m bench.peers.openbao raft|postgresql [audit]`: OpenBao as a contender (`bench.turns`).

Its own binary, as durable as it ships, without TLS since both sides are on loopback (ours brings its own encryption,
within the session, and pays for it). KV v2 with a service token under a policy that allows these paths and no more, as
an application has it. `audit` adds OpenBao's audit device to a file, which it ships without.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop

from bench.database import postgresql
from bench.http import Connection
from bench.load import CLIENTS, load
from bench.processes import cpu_of, resident_of
from bench.turns import take_turns
from tools.openbao import binary

READY_SECONDS: Final = 30.0
SECRET: Final = 1024
"""Characters of a value. Ours keeps bytes; in JSON as many would take a third more, which OpenBao is spared."""
POLICY: Final = 'path "secret/data/*" { capabilities = ["create", "update", "read"] }'
CONFIG: Final = """
ui = false
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
{storage}
{audit}
"""
STORED_IN: Final = 'storage "postgresql" {{\n  connection_url = "{url}"\n}}'
AUDIT: Final = """
audit "file" "file" {{
  options {{
    file_path = "{path}"
  }}
}}
"""


def raft(root: Path) -> str:
    """Its own storage, the one that its documentation recommends."""
    (root / "raft").mkdir()
    return f'storage "raft" {{\n  path = "{root / "raft"}"\n  node_id = "bench"\n}}'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class OpenBao:
    """One server, initialised and unsealed, with KV v2 at `secret/` and a token that may use it."""

    def __init__(self, root: Path, storage: str, audit: str = "") -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = root / "openbao.hcl"
        config.write_text(CONFIG.format(port=port, cluster=free_port(), storage=storage, audit=audit))
        self._log = root / "openbao.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [binary(), "server", f"-config={config}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pid = self._process.pid
        try:
            self.token = self._prepare()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _prepare(self) -> str:
        with httpx.Client(base_url=f"{self.url}/v1/", timeout=30) as client:
            self._until(client, 501)
            made = client.put("sys/init", json={"secret_shares": 1, "secret_threshold": 1}).raise_for_status().json()
            client.put("sys/unseal", json={"key": made["keys_base64"][0]}).raise_for_status()
            self._until(client, 200)
            client.headers["x-vault-token"] = made["root_token"]
            client.post("sys/mounts/secret", json={"type": "kv", "options": {"version": "2"}}).raise_for_status()
            client.put("sys/policies/acl/bench", json={"policy": POLICY}).raise_for_status()
            token = client.post("auth/token/create", json={"policies": ["bench"]}).raise_for_status().json()
            return str(token["auth"]["client_token"])

    def _until(self, client: httpx.Client, status: int) -> None:
        """Until its health is said with that status (501: not initialised, 200: it serves)."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            try:
                if client.get("sys/health").status_code == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"OpenBao is not ready:\n{self._log.read_text()[-2000:]}")


class Peer:
    """The commands of this contender."""

    def __init__(self, servers: dict[str, int], bao: OpenBao) -> None:
        self._servers = servers
        headers = {"x-vault-token": bao.token}
        self._connections = [Connection(bao.url, headers) for _ in range(CLIENTS)]
        self._names: list[str] = []

    async def open(self) -> "Peer":
        for connection in self._connections:
            await connection.open()
        until = time.monotonic() + READY_SECONDS
        while (await self._put(0))[0] != 200:  # a new mount of KV v2 says 400 until it has upgraded itself
            if time.monotonic() > until:
                raise RuntimeError("KV v2 does not come up")
            await asyncio.sleep(0.1)
        return self

    def cpu(self) -> dict[str, float]:
        return {name: cpu_of(pid) for name, pid in self._servers.items()}

    async def store(self, seconds: float) -> dict[str, Any]:
        async def put(client: int) -> None:
            status, answer = await self._put(client)
            if status != 200:
                raise RuntimeError(f"not stored: {status} {answer!r}")

        return await load(seconds, put, self.cpu)

    async def collect(self, seconds: float) -> dict[str, Any]:
        async def get(client: int) -> None:
            status, answer = await self._connections[client].request("GET", random.choice(self._names), b"")
            if status != 200 or len(json.loads(answer)["data"]["data"]["value"]) != SECRET:
                raise RuntimeError(f"not collected: {status} {answer!r}")

        return await load(seconds, get, self.cpu)

    async def memory(self) -> dict[str, Any]:
        return {name: resident_of(pid) for name, pid in self._servers.items()}

    async def _put(self, client: int) -> tuple[int, bytes]:
        name = f"/v1/secret/data/{os.urandom(16).hex()}"
        value = json.dumps({"data": {"value": os.urandom(SECRET // 2).hex()}})
        status, answer = await self._connections[client].request("POST", name, value.encode())
        if status == 200:
            self._names.append(name)
        return status, answer


async def main(storage: str, *options: str) -> None:
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        if storage == "raft":
            stanza = raft(root)
        else:
            database = stack.enter_context(postgresql())
            stanza = STORED_IN.format(url=database.url)
            servers["postgresql"] = database.pid
        audit = AUDIT.format(path=root / "audit.log") if "audit" in options else ""
        bao = OpenBao(root, stanza, audit)
        stack.callback(bao.stop)
        peer = await Peer({"openbao": bao.pid, **servers}, bao).open()
        await take_turns({"store": peer.store, "collect": peer.collect, "memory": peer.memory})


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
