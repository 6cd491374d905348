"""Size limits in bytes (unless said otherwise), enforced before anything is parsed. Listed in `spec/limits.md`."""

from __future__ import annotations

from typing import Final

MAX_EVIDENCE: Final = 192 * 1024
"""What `GET /v1/evidence` answers, and evidence inside a `prove`: more than all its parts at their longest, so that no
list of releases, and no collateral that grows, can end a cluster."""
MAX_HELLO: Final = 8 * 1024
"""A hello, and an answer."""
MAX_MESSAGE: Final = 1024 * 1024
"""One message before padding."""
MAX_FRAME: Final = 2 * MAX_MESSAGE + 40
"""A whole frame: session id (16), counter (8), padded message, tag (16). Padding takes a longest message to 2 MiB."""

MAX_SECRET: Final = 64 * 1024
"""The secret of one record."""
MAX_METADATA: Final = 4 * 1024
"""What is kept and returned beside a secret."""
MAX_INSTRUCTIONS: Final = 64 * 1024
"""Encoded instructions of one record."""
MAX_RULES: Final = 32 * 1024
"""Cedar text of one record."""
MAX_METHOD: Final = 16 * 1024
"""One encoded method definition."""
MAX_TICKET: Final = 4 * 1024
"""The sealed part of a ticket, and a device-flow handle."""
MAX_CAPSULE: Final = 80 * 1024
"""The sealed method definitions of one record."""
MAX_NAME: Final = 256
"""Characters of a record or namespace name."""

MAX_JOURNAL: Final = 100
"""Visits that the journal of a record keeps. Of what must go, refusals and looks into the journal go first."""
MAX_STATEMENT: Final = 512
"""What a Vault says about a blob."""
MAX_BATCH: Final = 256
"""Items of one request."""
MAX_AUTHENTICATORS: Final = 8
"""Authenticators that one record's instructions name."""
MAX_METHODS: Final = 16
"""Sign-in methods of one record's instructions."""
MAX_POLICIES: Final = 64
"""Cedar policies of one record's rules."""
MAX_TICKETS: Final = 8
"""Tickets that come with one request."""
MAX_SIGN_INS: Final = 4
"""Sign-ins that one ticket holds."""
MAX_APPROVERS: Final = 16
"""People who approve of one thing that somebody asked for."""
MAX_APPROVALS: Final = 16
"""Questions for approval that stand open at one record."""
MAX_APPROVAL_LIFE: Final = 30 * 24 * 3600
"""Seconds for which such a question stands at most."""
MAX_MARKS: Final = 64
"""Marks of one person that have not expired."""

MAX_WITNESSES: Final = 15
"""Witnesses of one cluster."""
MAX_CHECKPOINT: Final = 4 * 1024
"""A signed checkpoint with its cosignatures."""
MAX_PROOF: Final = 63
"""Hashes of one proof of inclusion or consistency."""
MAX_TRAIL: Final = 128
"""Log entries of one answer to `trail`."""
MAX_GENESIS: Final = 32 * 1024
"""A genesis statement, and a statement that follows it."""
MAX_CUSTODIANS: Final = 16
"""Custodians of one council: as many as SLIP-39 has shares."""
MAX_COUNCILS: Final = 64
"""Councils of one cluster, the first one not counted."""
MAX_RELEASE_APPROVERS: Final = 16
"""Who approves releases of one cluster."""
MAX_RELEASES: Final = 32 * 1024
"""A list of releases with its signatures."""
MAX_LISTED_RELEASES: Final = 32
"""Releases that one list names."""
MAX_LISTED_PROGRAMS: Final = 256
"""Programs of all releases of one list."""
MAX_INSTANCES: Final = 8
"""Machines that can open one ring by themselves, each with one program."""
MAX_INVITATION: Final = 7 * 24 * 3600
"""Seconds for which an owner's invitation to join counts at most."""
MAX_EPOCHS: Final = 64
"""Epochs of one ring: rotation waits until old ones are unused."""
MAX_RECOVERIES: Final = 64
"""Gaps that a charter keeps: recoveries that gave up a part of the log, or could not know."""
MAX_STATUS: Final = 256 * 1024
"""What an enclave says of its state: enough for any list of releases, measurements in hex."""
LEASE: Final = 600
"""Seconds for which a Vault releases secrets after the last cosignature over fresh randomness of its own (RULES 24)."""
LEASE_RELEASES: Final = 10_000
"""Secrets that it releases in that time: a host can hold its clock still."""
WITNESS_PATIENCE: Final = 5
"""Seconds for which a checkpoint waits for cosignatures before the Vault takes no more changes: what is acknowledged
without them is never older."""

KEY_PERIOD: Final = 3600
"""Seconds between turns of the attested HPKE key."""
KEY_OVERLAP: Final = 600
"""Seconds for which the previous key still opens a hello."""
MAX_EVIDENCE_AHEAD: Final = 2 * 3600
"""Seconds: a client refuses evidence that expires later than this from now (RULES 2)."""
MAX_TICKET_LIFE: Final = 600
"""Seconds for which a ticket counts (RULES 10)."""
DECISION_LIFE: Final = 30
"""Seconds for which one decision counts (RULES 15)."""
PROVIDER_TIMEOUT: Final = 5.0
"""Seconds for all traffic of one call to an external authenticator (RULES 18)."""
MAX_PROVIDER_ANSWER: Final = 256 * 1024
"""One answer of an external authenticator."""
WINDOW: Final = 64
"""Frame counters that are still accepted, once each: the highest seen and those up to 63 below it."""
MAX_SESSIONS: Final = 16_384
"""Sessions of one server process: a quarter unproven, oldest first out; the rest proven, least recently used out."""
MAX_SESSIONS_PER_KEY: Final = 64
"""Proven sessions of one binding key; the oldest makes room."""
MAX_SESSION_LIFE: Final = 3600
"""Seconds for which a session is served at most."""
FREE_ATTEMPTS: Final = 5
"""Refused attempts of one identity on one record that cost no wait."""
MAX_ATTEMPT_DELAY: Final = 3600
"""Seconds to wait at most. The fifth refusal costs one second, each further one twice as much as the one before."""
ATTEMPTS_KEPT: Final = 24 * 3600
"""Seconds after the last refusal of an identity when its refusals are forgotten."""
