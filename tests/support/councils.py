"""Councils for tests that are not about them."""

from typing import Any

from strongroom.protocol.evidence import Council


def council(**fields: Any) -> Council:
    values: dict[str, Any] = {
        "recovery_key": bytes(1216),
        "ring_token": bytes(32),
        "custodians": [],
        "threshold": 0,
        "approvers": [],
        "approvals": 0,
        "release_delay": 0,
    }
    return Council(**values | fields)
