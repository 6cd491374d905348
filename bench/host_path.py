"""Front → link → echoing enclave → back: requests a second, and CPU µs a request on either side of the link.

`python -m bench.host_path [seconds]`. The load comes from a third process, so a busy machine shows in the rate and
hardly in the CPU figures.
"""

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import httptools
import uvloop

from strongroom.host.front.http import Front
from strongroom.host.store.sqlite import SqliteStore
from strongroom.host.supervisor.courier import LOOPBACK, Courier
from strongroom.host.supervisor.enclave import EnclaveProcess
from strongroom.protocol.link import Operation

CLIENTS = 32


class Client(asyncio.Protocol):
    """Sends the same request again and again."""

    def __init__(self, request, count):
        self.request, self.count = request, count
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_complete(self):
        assert self.parser.get_status_code() == 200
        self.count[0] += 1
        self.transport.write(self.request)


def load(port, body, seconds, pipe):
    async def run():
        count = [0]
        request = b"POST /v1/frame HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        loop = asyncio.get_running_loop()
        for _ in range(CLIENTS):
            await loop.create_connection(lambda: Client(request, count), "127.0.0.1", port)
        await asyncio.sleep(seconds / 4)
        pipe.send(count[0])
        await asyncio.sleep(seconds)
        pipe.send(count[0])

    uvloop.run(run())


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def measure(name, body, seconds):
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        store = SqliteStore(data / "rows")
        courier = Courier(LOOPBACK)
        enclave = await EnclaveProcess.spawn("tests.support.echo_enclave", data, store=store, carrier=courier)
        front = Front(enclave.ask)
        url = await front.listen("127.0.0.1", 0)
        port = int(url.rsplit(":", 1)[1])
        if name.startswith("read"):
            await enclave.call(Operation.FRAME, b"make " + body[5:] + b"x" * 300)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=load, args=(port, body, seconds, theirs))
        process.start()
        loop = asyncio.get_running_loop()
        begin = await loop.run_in_executor(None, ours.recv)
        marks = [time.monotonic(), resource.getrusage(resource.RUSAGE_SELF), cpu_of(enclave.pid)]
        end = await loop.run_in_executor(None, ours.recv)
        done = end - begin
        used = resource.getrusage(resource.RUSAGE_SELF)
        host = used.ru_utime + used.ru_stime - marks[1].ru_utime - marks[1].ru_stime
        inside = cpu_of(enclave.pid) - marks[2]
        rate = done / (time.monotonic() - marks[0])
        print(f"{name:22} {rate:8,.0f} /s   host {host / done * 1e6:5.1f} µs   enclave {inside / done * 1e6:5.1f} µs")
        process.join()
        await front.drain(1)
        await enclave.stop()
        courier.close()
        await store.close()


async def main(seconds):
    await measure("echo 300 bytes", b"x" * 300, seconds)
    await measure("read a row", b"read " + bytes(32), seconds)
    other = Front(lambda operation, body, answered: answered(0, body))
    url = await other.listen("127.0.0.1", 0)
    await measure("post to another front", b"post " + f"{url}/v1/frame".encode(), seconds)
    await other.drain(0)


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
