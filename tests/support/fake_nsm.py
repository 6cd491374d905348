"""A Nitro Security Module for tests: answers as the hypervisor's does, or as a test says."""

from __future__ import annotations

from typing import Any

import cbor2

from tests.support.synthetic_nitro import SyntheticNitro


class FakeNsm:
    """`exchange` is what `Nitro` asks. `answers`: for the names of requests, an exception to raise, complete bytes, or
    anything else to be encoded, in place of the genuine answer. `payload`: other fields in the documents."""

    def __init__(self, answers: dict[str, Any] | None = None, **payload: Any) -> None:
        self.pki = SyntheticNitro("fake nsm")
        self.requests: list[Any] = []
        self._answers = answers or {}
        self._payload = payload

    def exchange(self, request: bytes) -> bytes:
        asked = cbor2.loads(request)
        self.requests.append(asked)
        name = asked if isinstance(asked, str) else next(iter(asked))
        answer = self._answers[name] if name in self._answers else self._genuine(name, asked)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else cbor2.dumps(answer)

    def _genuine(self, name: str, asked: Any) -> dict[str, Any]:
        match name:
            case "GetRandom":
                return {name: {"random": bytes(range(256))}}
            case "Attestation":
                return {name: {"document": self.pki.document(payload=asked[name] | self._payload)}}
            case _:
                return {"Error": "InvalidOperation"}
