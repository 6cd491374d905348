"""Size limits in bytes (unless said otherwise), enforced before anything is parsed. Listed in `spec/limits.md`."""

from __future__ import annotations

from typing import Final

MAX_EVIDENCE: Final = 128 * 1024
MAX_HELLO: Final = 8 * 1024
MAX_FRAME: Final = 2 * 1024 * 1024
"""A whole frame: session id, counter, padded and sealed message."""
MAX_MESSAGE: Final = 1024 * 1024
"""One message before padding."""

MAX_SECRET: Final = 64 * 1024
MAX_METADATA: Final = 4 * 1024
MAX_INSTRUCTIONS: Final = 64 * 1024
MAX_RULES: Final = 32 * 1024
MAX_METHOD: Final = 16 * 1024
MAX_TICKET: Final = 4 * 1024
MAX_CAPSULE: Final = 80 * 1024
MAX_NAME: Final = 256
"""Characters of a record or namespace name."""

MAX_BATCH: Final = 256
"""Items of one request."""
MAX_AUTHENTICATORS: Final = 8
MAX_METHODS: Final = 16
MAX_POLICIES: Final = 64
MAX_TICKETS: Final = 8

KEY_PERIOD: Final = 3600
"""Seconds between turns of the attested HPKE key."""
KEY_OVERLAP: Final = 600
"""Seconds for which the previous key still opens a hello."""
MAX_EVIDENCE_AHEAD: Final = 2 * 3600
"""Seconds: a client refuses evidence that expires later than this from now (RULES 2)."""
MAX_TICKET_LIFE: Final = 600
"""Seconds (RULES 10)."""
DECISION_LIFE: Final = 30
"""Seconds for which one decision counts (RULES 15)."""
PROVIDER_TIMEOUT: Final = 5.0
"""Seconds for all traffic of one call to an external authenticator (RULES 18)."""
MAX_PROVIDER_ANSWER: Final = 256 * 1024
WINDOW: Final = 64
"""Frame counters below the highest seen that are still accepted, once each."""
MAX_SESSIONS: Final = 16_384
MAX_SESSION_LIFE: Final = 3600
"""Seconds."""
ATTEMPTS: Final = 10
"""Refused attempts of one identity on one record within `ATTEMPTS_WINDOW` before it must wait."""
ATTEMPTS_WINDOW: Final = 900
"""Seconds."""
