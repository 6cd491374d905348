"""What a running enclave has loaded, real work done, stands in the lock that reviewers read."""

import os
import signal
import time
from importlib.metadata import packages_distributions

import pytest

from bench.scene import RULES, scene
from strongroom.protocol.messages import ById
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.vault_messages import Collect, Item
from tools import tcb
from tools.closure import is_standard, standard_library

# Python imports a module of this name when it starts; no enclave has one, and this one only answers a signal.
TELL_TALE = """
import os, signal, sys

def tell(*_):
    with open(os.path.join({folder!r}, f"{{os.getpid()}}.part"), "w") as file:
        file.write("\\n".join(sorted(sys.modules)))
    os.rename(file.name, file.name.removesuffix(".part"))

if any("strongroom.enclave.entries" in word for word in sys.orig_argv):
    signal.signal(signal.SIGUSR1, tell)
"""
# What a developer's environment brings in and no image has: this test itself, `site` and what installations leave it to
# run, and an optional import of msgspec's.
OF_THE_ENVIRONMENT = {
    "__main__", "_distutils_hack", "_sitebuiltins", "_virtualenv", "site", "sitecustomize", "typing_extensions",
}  # fmt: skip
# Modules without a file: the interpreter's own, and what `os`, `typing` and cryptography's _rust put there themselves.
WITHOUT_FILE = {
    "_frozen_importlib", "_frozen_importlib_external", "os.path", "sys.monitoring", "typing.io", "typing.re",
    "_openssl", "_openssl.lib",
}  # fmt: skip


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Says what the enclave of a server has loaded."""
    (tmp_path / "sitecustomize.py").write_text(TELL_TALE.format(folder=str(tmp_path)))
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def ask(server):
        enclave = server.pids[1]
        os.kill(enclave, signal.SIGUSR1)
        told = tmp_path / str(enclave)
        give_up = time.monotonic() + 20
        while not told.exists():
            assert time.monotonic() < give_up, "the enclave did not tell"
            time.sleep(0.02)
        return set(told.read_text().splitlines())

    return ask


def unlocked(modules, lock):
    """What is loaded and stands in no section of the lock."""
    brought = {top for top, found in packages_distributions().items() if set(found) & set(lock.distributions)}
    library = standard_library(lock.standard_library)
    return {
        module
        for module in modules - OF_THE_ENVIRONMENT - WITHOUT_FILE
        if module not in lock.own and module not in library and module.partition(".")[0] not in brought
    }


async def test_what_an_enclave_has_loaded_is_locked(loaded):
    async with scene() as it:
        binding = SigningKey.generate()
        wire = await it.wire("vault", binding)
        ticket, name = await it.ticket(binding, wire), os.urandom(16)
        await wire.ask(it.store(ticket, [name], it.instructions(RULES)))
        collect = Collect(request_id=os.urandom(16), tickets=[ticket], addresses=[ById(id=name)])
        assert isinstance((await wire.ask(collect)).results[0], Item)
        for role, server in (("vault", it.vault), ("authenticator", it.authenticator)):
            modules = loaded(server)
            lock = tcb.read(f"insecure-software-{role}")
            assert f"strongroom.enclave.{role}.service" in modules
            assert unlocked(modules, lock) == set(), role


def test_a_module_that_is_not_locked_is_noticed():
    lock = tcb.read("insecure-software-vault")
    strangers = {"strongroom.client.session", "httpx", "http.server", "strongroom.enclave.authenticator.service"}
    assert unlocked({*lock.own, "asyncio", *strangers}, lock) == strangers
    assert all(is_standard(module) for module in lock.standard_library)
