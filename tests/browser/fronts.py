"""A front that does harm: what it delivers in place of what it was asked for, to pages, workers and service workers."""

from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

from strongroom.cli.demo.processes import Child

HEADERS = {"content-type": "application/octet-stream"}


@contextmanager
def served(role, root):
    """One more enclave of this role, genuine and of a cluster of its own; its URL."""
    places = ("--data", str(root / role), "--platform", str(root / "platform"))
    child = Child(role, ["strongroom.cli", "serve", role, *places, "--listen", "127.0.0.1:0", "--until-eof", "--json"])
    try:
        yield child.ready()["url"]
    finally:
        child.stop()


def evidence(url):
    return httpx.get(f"{url}/v1/evidence", trust_env=False).raise_for_status().content


def flipped(data, at):
    """One bit is another."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


class Front:
    """In front of one person's browser. `asked` holds method and path of every request of theirs to the site."""

    def __init__(self, person):
        self._context, self._origin = person.context, person.site.origin
        self.asked = []
        self._context.on("request", self._note)

    def _note(self, request):
        if request.url.startswith(self._origin):
            self.asked.append(f"{request.method} {urlsplit(request.url).path}")

    def sent(self):
        """Whatever left the browser for an enclave or for the host's disk."""
        return [asked for asked in self.asked if not asked.startswith(("GET ", "HEAD "))]

    def give(self, path, body):
        """Answer with these bytes; `path` may hold stars."""
        self._route(path, lambda route: route.fulfill(body=body, headers=HEADERS))

    def change(self, path, change):
        """Answer with what `change` makes of the true answer's body."""

        def altered(route):
            answer = route.fetch()
            route.fulfill(response=answer, body=change(answer.body()))

        self._route(path, altered)

    def pass_to(self, path, url):
        """Everything below `path` goes to another server."""

        def elsewhere(route):
            rest = urlsplit(route.request.url).path.removeprefix(path)
            answer = httpx.request(
                route.request.method, f"{url}/{rest}", content=route.request.post_data_buffer, trust_env=False
            )
            headers = {
                name: value for name, value in answer.headers.items() if name.startswith(("content-t", "strong"))
            }
            route.fulfill(status=answer.status_code, body=answer.content, headers=headers)

        self._route(f"{path}**", elsewhere)

    def handle(self, path, handler):
        self._route(path, handler)

    def _route(self, path, handler):
        self._context.route(f"{self._origin}{path}", handler)

    def stop(self):
        """Be honest from now on."""
        self._context.unroute_all(behavior="ignoreErrors")
