/**
 * Errors of the protocol: numbers cross the wire, words stay on each side (`spec/errors.md`).
 *
 * Four families, by who is to blame. The hundreds digit names the family, so that a client that does not know a number
 * still knows what to do:
 *
 * - 1xx `Misuse`: the caller's own mistake. Correct the request.
 * - 2xx `Refused`: the answer is no. Missing records and refused ones look alike (RULES 19).
 * - 3xx `Untrusted`: evidence, integrity or freshness did not hold. Somebody lied; do not retry blindly.
 * - 4xx `Unavailable`: a part that is not to be trusted anyway failed. Try again later.
 */

/** Error numbers as they cross the wire. A number keeps its meaning for ever. */
export const ErrorNumber = {
  MALFORMED: 101,
  TOO_LARGE: 102,
  UNSUPPORTED: 103,
  UNKNOWN_SESSION: 104,
  REPLAYED: 105,
  NOT_PROVED: 106,
  CONFLICT: 107,
  INSTRUCTIONS_INVALID: 108,
  RULES_INVALID: 109,
  METHOD_INVALID: 110,
  LOCKS_OUT: 111,
  TICKET_MISSING: 112,
  TICKET_EXPIRED: 113,
  UNKNOWN_METHOD: 114,
  QUOTA_EXCEEDED: 115,
  STALE_KEY: 116,
  TIME_UNWITNESSED: 117,
  SHARE_WRONG: 118,
  SHARE_REPEATED: 119,
  SHARE_STALE: 120,
  SHARE_FOREIGN: 121,
  ATTEMPT_OVER: 122,
  RELEASE_INVALID: 123,
  COUNCIL_INVALID: 124,
  NOT_NOW: 125,

  REFUSED: 201,
  THROTTLED: 202,
  SIGN_IN_REFUSED: 203,
  SIGN_IN_PENDING: 204,
  DESTINATION_REFUSED: 205,
  PEER_REFUSED: 206,
  CLOSED: 207,
  EXPIRED: 208,
  OPENED_OUT: 209,
  NOT_OWNER_KEY: 210,
  NOT_RELEASED: 211,

  EVIDENCE: 301,
  INTEGRITY: 302,
  AUTHENTICATOR_UNTRUSTED: 303,
  TOKEN_UNTRUSTED: 304,
  CLOCK: 305,
  POLICY: 306,
  ROLLED_BACK: 307,
  LOG_OMITTED: 308,

  BUSY: 401,
  STORE_UNAVAILABLE: 402,
  STORE_FULL: 403,
  AUTHENTICATOR_UNAVAILABLE: 404,
  PROVIDER_UNAVAILABLE: 405,
  PROVIDER_SLOW: 406,
  STOPPING: 407,
  INTERNAL: 408,
  QUOTE_UNAVAILABLE: 409,
  COLLATERAL_UNAVAILABLE: 410,
  WITNESSES_UNAVAILABLE: 411,
  LEASE_ENDED: 412,
  STANDING_BY: 413,
} as const;
export type ErrorNumber = (typeof ErrorNumber)[keyof typeof ErrorNumber];

/** What each number means and what to do about it. */
export const WORDS: Readonly<Record<ErrorNumber, readonly [error: string, hint: string]>> = {
  [ErrorNumber.MALFORMED]: [
    "the message is not a well-formed message of this protocol",
    "use a client of the same protocol version",
  ],
  [ErrorNumber.TOO_LARGE]: [
    "the message exceeds a size limit",
    "send less in one request; spec/limits.md lists the limits",
  ],
  [ErrorNumber.UNSUPPORTED]: [
    "this version of the protocol or schema is not supported",
    "use a client and a server of the same version",
  ],
  [ErrorNumber.UNKNOWN_SESSION]: [
    "the server does not know this session",
    "open a new session; the client does so by itself once",
  ],
  [ErrorNumber.REPLAYED]: [
    "this message was received before, or is too old",
    "send each message once; if you did, the network repeats messages",
  ],
  [ErrorNumber.NOT_PROVED]: [
    "the session's binding key is not proved yet",
    "send the proof as the first message of a session",
  ],
  [ErrorNumber.CONFLICT]: [
    "the record is at another version than the one this request replaces",
    "collect the record, which tells its version, then repeat with that",
  ],
  [ErrorNumber.INSTRUCTIONS_INVALID]: ["the instructions are not valid", "compare them with spec/instructions.md"],
  [ErrorNumber.RULES_INVALID]: [
    "the rules do not parse or do not fit the schema",
    "check them with Policy.check(), which names the place",
  ],
  [ErrorNumber.METHOD_INVALID]: [
    "a sign-in method in the instructions is not valid",
    "compare it with spec/instructions.md",
  ],
  [ErrorNumber.LOCKS_OUT]: ["nobody could update or delete this record", "allow somebody to, or set permanent = true"],
  [ErrorNumber.TICKET_MISSING]: [
    "no ticket of the Authenticator that the instructions name came with the request",
    "sign in with that Authenticator first",
  ],
  [ErrorNumber.TICKET_EXPIRED]: ["the ticket has expired", "sign in again"],
  [ErrorNumber.UNKNOWN_METHOD]: [
    "the instructions have no such sign-in method",
    "describe the record again and choose one that it lists",
  ],
  [ErrorNumber.QUOTA_EXCEEDED]: [
    "the namespace's quota is used up",
    "delete records, or ask the namespace's owner for more",
  ],
  [ErrorNumber.STALE_KEY]: [
    "the message is sealed to a key that has turned over",
    "fetch the evidence again and repeat",
  ],
  [ErrorNumber.TIME_UNWITNESSED]: [
    "the rules depend on the time, and nobody but the host tells this Vault the time",
    "leave time out of the rules, or use a Vault with witnesses",
  ],
  [ErrorNumber.SHARE_WRONG]: [
    "this is no share: a word is wrong or missing",
    "compare the words with the paper or the file; each share says which words it consists of",
  ],
  [ErrorNumber.SHARE_REPEATED]: [
    "this custodian's share was submitted to this attempt already",
    "nothing is lost; another custodian's is wanted",
  ],
  [ErrorNumber.SHARE_STALE]: [
    "this share is of another set of custodians than the one that is asked for",
    "keep every share until a newer set is in office; `strongroom cluster charter` tells which one is",
  ],
  [ErrorNumber.SHARE_FOREIGN]: [
    "this share is of another cluster",
    "compare the cluster on the share with that of this enclave",
  ],
  [ErrorNumber.ATTEMPT_OVER]: [
    "this was sealed to another attempt, or to another enclave",
    "fetch the evidence again and seal the share to the attempt that it shows",
  ],
  [ErrorNumber.RELEASE_INVALID]: [
    "the list of releases is not one that this cluster can take",
    "propose it again from the list that the cluster goes by now; `strongroom release status` shows it",
  ],
  [ErrorNumber.COUNCIL_INVALID]: [
    "these custodians, approvers or numbers can't govern a cluster",
    "see the reason; docs/howto/custodians.md says what goes together",
  ],
  [ErrorNumber.NOT_NOW]: [
    "the enclave is not in a state in which this can be done",
    "look at `strongroom status`, which says in what state it is and what comes next",
  ],
  [ErrorNumber.REFUSED]: [
    "refused, or there is no such record",
    "check the address and that you signed in as the right person",
  ],
  [ErrorNumber.THROTTLED]: [
    "too many refused attempts",
    "wait; each further attempt that is refused takes twice as long as the one before",
  ],
  [ErrorNumber.SIGN_IN_REFUSED]: [
    "the sign-in provider refused the sign-in",
    "sign in again, with an account that the provider knows",
  ],
  [ErrorNumber.SIGN_IN_PENDING]: ["the sign-in is not finished", "finish it in the browser, or start again"],
  [ErrorNumber.DESTINATION_REFUSED]: [
    "the sign-in provider's address is not one that an Authenticator may call",
    "use a public https address; the operator of an Authenticator may list others (serve authenticator --reach)",
  ],
  [ErrorNumber.PEER_REFUSED]: [
    "this request is answered to an attested Vault only",
    "present a Vault's evidence made for this session",
  ],
  [ErrorNumber.CLOSED]: ["whoever stored this record has closed it", "ask whom you got its address from"],
  [ErrorNumber.EXPIRED]: [
    "this record has expired",
    "ask whom you got its address from to extend it, or to store it again",
  ],
  [ErrorNumber.OPENED_OUT]: [
    "this record was released as often as it may be",
    "ask whom you got its address from to allow more, and whether they know of all who opened it",
  ],
  [ErrorNumber.NOT_OWNER_KEY]: [
    "only the owner of the cluster may do this",
    "name the owner's key with --owner-key; its public half was fixed when the cluster was founded",
  ],
  [ErrorNumber.NOT_RELEASED]: [
    "this program is not one that the cluster's approvers have released",
    "`strongroom release status` says what may have the keys: have this one approved (`release propose`); in a " +
      "cluster without approvers start the program that runs now",
  ],
  [ErrorNumber.EVIDENCE]: ["the evidence was refused", "see the reason; do not send anything to this server"],
  [ErrorNumber.INTEGRITY]: [
    "an integrity check failed: something was altered on its way or in the database",
    "open a new session; if it persists, tell the operator that the database may have been altered",
  ],
  [ErrorNumber.AUTHENTICATOR_UNTRUSTED]: [
    "the Vault refused the evidence of an Authenticator that the instructions name",
    "compare the Authenticator's measurement and cluster with the instructions",
  ],
  [ErrorNumber.TOKEN_UNTRUSTED]: [
    "the sign-in token failed a check",
    "sign in again; if it persists the provider's settings differ from the method",
  ],
  [ErrorNumber.CLOCK]: ["the server's clock is behind a time that is proven past", "the operator must set the clock"],
  [ErrorNumber.POLICY]: [
    "the evidence is genuine, but the trust policy does not accept it",
    "compare the policy with what the operator publishes; `strongroom verify` shows what was found",
  ],
  [ErrorNumber.ROLLED_BACK]: [
    "an older state is shown than one that is known: the database was rolled back, or there are two of this Vault",
    "store nothing more here; keep the evidence, look at it with `strongroom audit --evidence FILE`, and tell the " +
      "operator and whoever else uses this Vault",
  ],
  [ErrorNumber.LOG_OMITTED]: [
    "the host holds back a part of the log that the Vault has written",
    "tell the operator; the checkpoint proves that the missing entry exists",
  ],
  [ErrorNumber.BUSY]: ["the server is busy", "try again in a moment"],
  [ErrorNumber.STORE_UNAVAILABLE]: [
    "the database did not answer; nothing was changed that was not acknowledged",
    "try again; the operator should look at the database",
  ],
  [ErrorNumber.STORE_FULL]: [
    "the database has no space left; nothing was changed",
    "the operator must free disk space",
  ],
  [ErrorNumber.AUTHENTICATOR_UNAVAILABLE]: [
    "the Vault could not reach the Authenticator",
    "try again; the Authenticator may be down",
  ],
  [ErrorNumber.PROVIDER_UNAVAILABLE]: [
    "the sign-in provider could not be reached or answered nonsense",
    "try again; the provider may be down",
  ],
  [ErrorNumber.PROVIDER_SLOW]: ["the sign-in provider did not answer in time", "try again later"],
  [ErrorNumber.STOPPING]: ["the server is stopping", "try again in a moment"],
  [ErrorNumber.INTERNAL]: [
    "the server failed; nothing was changed that was not acknowledged",
    "try again; the operator should look at the log",
  ],
  [ErrorNumber.QUOTE_UNAVAILABLE]: [
    "the machine does not give the enclave a quote",
    "the operator should look at the machine's quoting service",
  ],
  [ErrorNumber.COLLATERAL_UNAVAILABLE]: [
    "nobody gives the collateral that the quote is appraised with",
    "try again; the operator should look at the collateral sources",
  ],
  [ErrorNumber.WITNESSES_UNAVAILABLE]: [
    "too few witnesses answer, and this change must not be made without them",
    "look whether it was done nevertheless, and try again; the operator should look at the witnesses",
  ],
  [ErrorNumber.LEASE_ENDED]: [
    "no witness has seen this Vault for so long that it releases nothing more",
    "try again later; the operator should look at the witnesses",
  ],
  [ErrorNumber.STANDING_BY]: [
    "this instance stands by: another one of the cluster serves",
    "ask the other one, or try again; the client does so by itself",
  ],
};

/** Where in a request the error is. */
export interface Where {
  /** Item of the batch. */
  readonly index?: number;
  /** RULES_INVALID: the policy; METHOD_INVALID: the method. */
  readonly place?: number;
  /** CONFLICT: the record's current version. */
  readonly version?: number;
}

/**
 * Root of all declared errors. `number` is what crosses the wire; `reason` stays on this side.
 *
 * A reason never holds a secret, a token or a message body: texts of errors end up in logs.
 */
export class StrongroomError extends Error {
  readonly number: ErrorNumber;
  readonly reason: string;
  readonly index: number;
  readonly place: number;
  readonly version: number;

  constructor(number: ErrorNumber, reason = "", where: Where = {}) {
    super();
    this.number = number;
    this.reason = reason;
    this.index = where.index ?? 0;
    this.place = where.place ?? 0;
    this.version = where.version ?? 0;
    this.name = new.target.name;
  }

  override get message(): string {
    return `${this.error} [${this.number}]`;
  }

  /** One line: what is wrong. */
  get error(): string {
    const [words] = WORDS[this.number];
    return this.reason ? `${words}: ${this.reason}` : words;
  }

  /** One line: what to do. */
  get hint(): string {
    return WORDS[this.number][1];
  }
}

/** The caller's own mistake (1xx). */
export class Misuse extends StrongroomError {}

/** The answer is no (2xx). */
export class Refused extends StrongroomError {}

/** Evidence, integrity or freshness did not hold (3xx). */
export class Untrusted extends StrongroomError {}

/** Try again later (4xx). */
export class Unavailable extends StrongroomError {}

const FAMILIES = [
  { family: Misuse, unknown: ErrorNumber.MALFORMED },
  { family: Refused, unknown: ErrorNumber.REFUSED },
  { family: Untrusted, unknown: ErrorNumber.EVIDENCE },
  { family: Unavailable, unknown: ErrorNumber.BUSY },
] as const;

const KNOWN: ReadonlySet<number> = new Set(Object.values(ErrorNumber));

/** The error that a number from the wire stands for; an unknown number keeps its family if it has one. */
export function fromNumber(number: number, reason = "", where: Where = {}): StrongroomError {
  const { family, unknown } = FAMILIES[Math.floor(number / 100) - 1] ?? FAMILIES[3];
  if (isKnown(number)) return new family(number, reason, where);
  return new family(unknown, `unknown error number ${number}`);
}

function isKnown(number: number): number is ErrorNumber {
  return KNOWN.has(number);
}
