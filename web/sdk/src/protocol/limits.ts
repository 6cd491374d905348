/** Limits in bytes (unless said otherwise), enforced before anything is parsed. Those of `spec/limits.md` that a client meets. */

/** What `GET /v1/evidence` answers, and evidence inside a `prove`: more than all its parts at their longest. */
export const MAX_EVIDENCE = 196_608;

/** A hello, and an answer. */
export const MAX_HELLO = 8_192;

/** One message before padding. */
export const MAX_MESSAGE = 1_048_576;

/** A whole frame: session id (16), counter (8), padded message, tag (16). Padding takes a longest message to 2 MiB. */
export const MAX_FRAME = 2_097_192;

/** The secret of one record. */
export const MAX_SECRET = 65_536;

/** What is kept and returned beside a secret. */
export const MAX_METADATA = 4_096;

/** Encoded instructions of one record. */
export const MAX_INSTRUCTIONS = 65_536;

/** Cedar text of one record. */
export const MAX_RULES = 32_768;

/** One encoded method definition. */
export const MAX_METHOD = 16_384;

/** The sealed part of a ticket, and a device-flow handle. */
export const MAX_TICKET = 4_096;

/** Characters of a record or namespace name. */
export const MAX_NAME = 256;

/** Items of one request. */
export const MAX_BATCH = 256;

/** Authenticators that one record's instructions name. */
export const MAX_AUTHENTICATORS = 8;

/** Tickets that come with one request. */
export const MAX_TICKETS = 8;

/** Seconds for which a question for approval stands at most. */
export const MAX_APPROVAL_LIFE = 2_592_000;

/** Witnesses of one cluster. */
export const MAX_WITNESSES = 15;

/** Gaps that a charter keeps: recoveries that gave up a part of the log, or could not know. */
export const MAX_RECOVERIES = 64;

/** A signed checkpoint with its cosignatures. */
export const MAX_CHECKPOINT = 4_096;

/** Hashes of one proof of inclusion or consistency. */
export const MAX_PROOF = 63;

/** Seconds for which a Vault releases secrets after the last cosignature over fresh randomness of its own (RULES 24). */
export const LEASE = 600;

/** Seconds: a client refuses evidence that expires later than this from now (RULES 2). */
export const MAX_EVIDENCE_AHEAD = 7_200;

/** Seconds for which a ticket counts (RULES 10). */
export const MAX_TICKET_LIFE = 600;

/** Frame counters that are still accepted, once each: the highest seen and those up to 63 below it. */
export const WINDOW = 64;

/** Seconds for which a session is served at most. */
export const MAX_SESSION_LIFE = 3_600;

/** What a Vault says about a blob. */
export const MAX_STATEMENT = 512;

/** A genesis statement, and a statement that follows it. */
export const MAX_GENESIS = 32_768;

/** A list of releases with its signatures. */
export const MAX_RELEASES = 32_768;
