/** What the views know of the SDK: plain data, and nothing that must not reach the screen. */

export interface Person {
  /** E-mail address if the provider vouched for one, else its name for the person. */
  readonly name: string;
  /** The provider, as the method calls it. */
  readonly provider: string;
}

export interface Line {
  readonly title: string;
  readonly value: string;
  readonly detail: string;
}

/** One thing that was checked, in plain words: `proof.point.NAME.title` and `.text`. */
export interface Point {
  readonly name: "platform" | "software" | "program" | "signer" | "release" | "cluster" | "development" | "witnesses" | "unwitnessed" | "line" | "page";
  readonly values: Readonly<Record<string, string | number>>;
}

/** What was verified before anything was sent, in words and in figures. */
export interface Proof {
  readonly points: readonly Point[];
  readonly lines: readonly Line[];
  /** Software stands in for the hardware: everybody with access to the machine can read. */
  readonly insecure: boolean;
  readonly measurement: string;
  readonly cluster: string;
  readonly policyDigest: string;
  readonly siteDigest: string;
  /** Null when the host publishes no list of the page's files, undefined until it was asked: nothing waits for it. */
  readonly pageDigest: string | null | undefined;
}

export interface Offer {
  readonly name: string;
  readonly maxBytes: number;
  readonly expiryDays: { readonly default: number; readonly max: number };
  readonly contact: string;
}

export interface Problem {
  readonly title: string;
  readonly text: string;
  /** What the reader can do; the view decides which of them it can offer. */
  readonly remedy: "retry" | "sign-in" | "ask-sender" | "stop" | "none";
  /** The exact words of the SDK, for a support call. */
  readonly detail: string;
  /** The host was caught at an attack on everybody who uses it: the page stops, and says so in every view. */
  readonly alarm: Alarm | null;
}

export interface Alarm {
  /** What proves it, for whoever looks into it. Null: the Vault noticed it by itself, and shows nothing. */
  readonly evidence: TextFile | null;
}

/** Something for the reader to save. */
export interface TextFile {
  readonly name: string;
  readonly text: string;
}

export type Connection =
  | { readonly state: "checking" }
  | { readonly state: "verified"; readonly offer: Offer; readonly proof: Proof }
  | { readonly state: "changed"; readonly before: string; readonly now: string }
  | { readonly state: "refused"; readonly problem: Problem }
  | { readonly state: "unreachable"; readonly problem: Problem };

/** A file or a file of a folder that the user picked. */
export interface Picked {
  readonly path: string;
  readonly file: File;
}

export interface Parcel {
  readonly files: readonly Picked[];
  readonly title: string;
  readonly message: string;
  readonly recipients: readonly string[];
  readonly groups: readonly string[];
  /** Unix seconds. */
  readonly expiresAt: number;
  readonly maxOpens: number | null;
  readonly passkeys: readonly string[];
  readonly second: string | null;
}

export interface Progress {
  readonly stage: "preparing" | "uploading" | "finishing";
  readonly done: number;
  readonly total: number;
}

/** A transfer that is under way. */
export interface Transfer<T> {
  readonly result: Promise<T>;
  pause(): void;
  resume(): void;
  cancel(): void;
}

export interface Sent {
  readonly id: string;
  readonly link: string;
}

export interface SharedFile {
  readonly path: string;
  readonly size: number;
  readonly type: string;
}

/** A share that its recipient opened. */
export interface Opened {
  readonly from: string;
  readonly title: string;
  readonly message: string;
  readonly sentAt: number;
  readonly expiresAt: number | null;
  readonly maxOpens: number | null;
  readonly opens: number;
  readonly files: readonly SharedFile[];
  /** Asks where to, then decrypts to there. Call it in a click's handler: pickers open nowhere else. */
  save(file: SharedFile, progress: (done: number, total: number) => void, signal: AbortSignal): Promise<void>;
  saveAll(progress: (done: number, total: number) => void, signal: AbortSignal): Promise<void>;
  /** The whole file, for a preview; only for small ones. */
  read(file: SharedFile): Promise<Uint8Array<ArrayBuffer>>;
}

export type State = "uploading" | "sent" | "waiting" | "answered" | "revoked" | "expired";

/** One line of the dashboard. */
export interface Entry {
  readonly id: string;
  readonly kind: "share" | "request";
  readonly title: string;
  readonly recipients: readonly string[];
  readonly groups: readonly string[];
  readonly second: string | null;
  readonly passkeys: number;
  readonly sentAt: number;
  readonly expiresAt: number | null;
  readonly maxOpens: number | null;
  readonly size: number;
  readonly files: number;
  readonly state: State;
  readonly link: string;
}

export interface Visit {
  readonly at: number;
  readonly who: string;
  readonly did: "opened" | "looked" | "refused" | "late" | "created" | "changed" | "filled" | "other";
}

export interface History {
  readonly visits: readonly Visit[];
  /** Earlier visits, which the Vault has counted and not kept. */
  readonly older: number;
  readonly opens: number;
}

export interface Asking {
  readonly title: string;
  readonly message: string;
  readonly recipients: readonly string[];
  readonly expiresAt: number;
  readonly maxBytes: number;
}

/** A request for files as the one who answers sees it. */
export interface Asked {
  readonly from: string;
  readonly title: string;
  readonly message: string;
  readonly expiresAt: number | null;
  readonly maxBytes: number;
  answer(files: readonly Picked[], progress: (progress: Progress) => void): Transfer<void>;
}

/** A way to sign in, offered in the dialog. */
export interface Way {
  readonly kind: "provider" | "passkey" | "directory" | "code";
  readonly name: string;
}

/** The user is to say where a code goes, then which it was. */
export interface CodeForm {
  readonly kind: "code";
  /** Another number for each form: what was typed into one must not stand in the next. */
  readonly turn: number;
  readonly sender: string;
  /** Where the last code went; null before the first. */
  readonly email: string | null;
  readonly triesLeft: number;
  readonly problem: Problem | null;
  readonly send: (email: string) => void;
  readonly enter: (code: string) => void;
}

/** The user is to type a password; who sees it is said beside it. */
export interface PasswordForm {
  readonly kind: "password";
  readonly turn: number;
  readonly directory: string;
  readonly authenticator: string;
  readonly problem: Problem | null;
  readonly enter: (user: string, password: string) => void;
}

export type Form = CodeForm | PasswordForm;

/** The dialog's question: the SDK needs somebody to sign in. */
export interface SignInQuestion {
  readonly purpose: "first" | "passkey" | "second" | "again";
  readonly ways: readonly Way[];
  readonly stage: "choose" | "elsewhere" | "working" | Form;
  readonly problem: Problem | null;
  /** Call it in a click's handler: a pop-up opens nowhere else. */
  readonly choose: (way: Way) => void;
  /** Back to the choice. Null: there is only one way. */
  readonly back: (() => void) | null;
  /** Leaves the page for the provider and comes back to this place. Null: not possible now. */
  readonly redirect: (() => void) | null;
  readonly cancel: () => void;
}
