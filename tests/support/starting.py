"""How a host starts an enclave, for tests: a development cluster unless they say otherwise."""

from typing import Any

from strongroom.protocol.link import Start


def start(**fields: Any) -> Start:
    values: dict[str, Any] = {
        "mode": "develop",
        "owner_key": bytes([4]) + bytes(64),
        "config": {},
        "witnesses": [],
        "cosignatures": 0,
        "peer": "",
        "cluster": b"",
        "invitation": b"",
    }
    return Start(**values | fields)
