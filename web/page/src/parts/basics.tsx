/** Buttons, fields and notices: the pieces that every view is made of. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";

import { Cross, Copy, Download, Info, Offline, Share, Stop, Tick, Warning } from "../icons.js";
import { counted, t } from "../language.js";
import { wordsIn } from "../service/checks.js";
import type { Problem, TextFile } from "../service/types.js";

interface ButtonProps {
  readonly children: ComponentChildren;
  readonly onClick?: () => void;
  /** Of a form that somebody fills in: Enter does the same. */
  readonly type?: "button" | "submit";
  readonly look?: "primary" | "plain" | "quiet" | "danger";
  readonly icon?: JSX.Element;
  readonly disabled?: boolean;
  readonly busy?: boolean;
  readonly label?: string;
  readonly autofocus?: boolean;
}

export function Button({ children, onClick, type = "button", look = "plain", icon, disabled = false, busy = false, label, autofocus }: ButtonProps): JSX.Element {
  return (
    <button
      type={type}
      class={`button button-${look}`}
      onClick={onClick}
      disabled={disabled || busy}
      aria-busy={busy}
      {...(label === undefined ? {} : { "aria-label": label })}
      {...(autofocus === true ? { autofocus: true } : {})}
    >
      {busy ? <span class="spinner" aria-hidden="true" /> : icon}
      <span>{children}</span>
    </button>
  );
}

export function IconButton({ label, icon, onClick }: { readonly label: string; readonly icon: JSX.Element; readonly onClick: () => void }): JSX.Element {
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} onClick={onClick}>
      {icon}
    </button>
  );
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: string;
  readonly error?: string | null;
  readonly type?: "text" | "email" | "password";
  /** What it is, as browsers call it; by default they fill in nothing. */
  readonly fill?: "email" | "username" | "current-password" | "one-time-code";
  readonly keys?: "numeric" | "email";
  readonly rows?: number;
  readonly placeholder?: string;
  readonly optional?: boolean;
  readonly maxLength?: number;
  readonly mono?: boolean;
}

export function Field(props: FieldProps): JSX.Element {
  const id = useId();
  const { label, value, onInput, hint, error, type = "text", rows, placeholder, optional = false, maxLength, mono = false, fill = "off", keys } = props;
  // the browser cuts what is pasted without a word
  const left = maxLength !== undefined && value.length > 0.9 * maxLength ? counted("field.left", Math.max(0, maxLength - value.length)) : null;
  const described = [hint === undefined ? "" : `${id}-hint`, error ? `${id}-error` : ""].filter(Boolean).join(" ");
  const shared = {
    id,
    class: mono ? "input mono" : "input",
    value,
    placeholder,
    autocomplete: fill,
    inputMode: keys,
    spellcheck: rows !== undefined && !mono,
    maxLength,
    "aria-invalid": Boolean(error),
    "aria-describedby": described || undefined,
  };
  return (
    <div class="field">
      <label for={id}>
        {label}
        {optional && " "}
        {optional && <span class="optional">{t("field.optional")}</span>}
      </label>
      {rows === undefined ? (
        <input {...shared} type={type as "text"} onInput={(event) => onInput(event.currentTarget.value)} />
      ) : (
        <textarea {...shared} rows={rows} onInput={(event) => onInput(event.currentTarget.value)} />
      )}
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {maxLength !== undefined && (
        <p class={left === null ? "visually-hidden" : "hint"} role="status">
          {left}
        </p>
      )}
      {error && (
        <p class="error-text" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

interface ChipsProps {
  readonly label: string;
  readonly values: readonly string[];
  readonly onChange: (values: readonly string[]) => void;
  readonly placeholder: string;
  readonly hint?: string;
  readonly error?: string | null;
  /** What is wrong with one value, or null. */
  readonly check: (value: string) => string | null;
}

/** Several addresses in one field, in lower case, each once. Comma, semicolon, space and Enter end one; a pasted list becomes many. */
export function Chips({ label, values, onChange, placeholder, hint, error, check }: ChipsProps): JSX.Element {
  const id = useId();
  const [draft, setDraft] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);

  const take = (words: string): void => {
    const fresh: string[] = [];
    let left = "";
    let wrong: string | null = null;
    for (const word of wordsIn(words)) {
      const problem = check(word);
      const value = word.toLowerCase();
      if (problem !== null) {
        wrong = problem;
        left = left === "" ? word : `${left} ${word}`;
      } else if (!values.includes(value) && !fresh.includes(value)) fresh.push(value);
    }
    if (fresh.length > 0) onChange([...values, ...fresh]);
    setDraft(left);
    setFault(wrong);
  };

  const drop = (value: string): void => {
    onChange(values.filter((other) => other !== value));
    input.current?.focus();
  };

  const problem = fault ?? error ?? null;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="chips" onClick={(event) => event.target === event.currentTarget && input.current?.focus()}>
        {values.length > 0 && (
          <ul class="chip-list">
            {values.map((value) => (
              <li class="chip" key={value}>
                <span>{value}</span>
                <button type="button" aria-label={t("chips.remove", { name: value })} onClick={() => drop(value)}>
                  <Cross />
                </button>
              </li>
            ))}
          </ul>
        )}
        <input
          id={id}
          ref={input}
          value={draft}
          placeholder={values.length === 0 ? placeholder : ""}
          inputMode="email"
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          aria-invalid={problem !== null}
          aria-describedby={`${id}-note`}
          onInput={(event) => {
            const words = event.currentTarget.value;
            if (/[\s,;]/.test(words.trimStart())) take(words);
            else {
              setDraft(words.trimStart());
              setFault(null);
            }
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter") {
              event.preventDefault();
              take(draft);
            }
            const last = values.at(-1);
            if (event.key === "Backspace" && draft === "" && last !== undefined) drop(last);
          }}
          onBlur={() => take(draft)}
        />
      </div>
      <p class={problem === null ? "hint" : "error-text"} id={`${id}-note`}>
        {problem ?? hint ?? ""}
      </p>
    </div>
  );
}

interface SegmentsProps<T extends string | number> {
  readonly label: string;
  readonly choices: readonly { readonly value: T; readonly words: string }[];
  readonly value: T;
  readonly onChange: (value: T) => void;
  readonly hint?: string;
}

/** One of a few: radio buttons that look like one strip. */
export function Segments<T extends string | number>({ label, choices, value, onChange, hint }: SegmentsProps<T>): JSX.Element {
  const name = useId();
  return (
    <fieldset class="field segments-field">
      <legend>{label}</legend>
      <div class="segments">
        {choices.map((choice) => (
          <label key={choice.value}>
            <input type="radio" name={name} checked={choice.value === value} onChange={() => onChange(choice.value)} />
            {choice.words}
          </label>
        ))}
      </div>
      {hint !== undefined && <p class="hint">{hint}</p>}
    </fieldset>
  );
}

interface SwitchProps {
  readonly label: string;
  readonly hint: string;
  readonly on: boolean;
  readonly onChange: (on: boolean) => void;
  readonly children?: ComponentChildren;
}

/** A choice that shows more fields when it is on. */
export function Switch({ label, hint, on, onChange, children }: SwitchProps): JSX.Element {
  const id = useId();
  return (
    <div class="switch-field">
      <div class="switch-line">
        <div>
          <label for={id}>{label}</label>
          <p class="hint" id={`${id}-hint`}>
            {hint}
          </p>
        </div>
        <input id={id} class="switch" type="checkbox" role="switch" checked={on} aria-describedby={`${id}-hint`} onChange={(event) => onChange(event.currentTarget.checked)} />
      </div>
      {on && <div class="switch-more">{children}</div>}
    </div>
  );
}

type Tone = "info" | "success" | "caution" | "danger" | "offline";
const TONES: Readonly<Record<Tone, () => JSX.Element>> = { info: Info, success: Tick, caution: Warning, danger: Stop, offline: Offline };

export function Notice({ tone, title, children, actions }: { readonly tone: Tone; readonly title: string; readonly children?: ComponentChildren; readonly actions?: ComponentChildren }): JSX.Element {
  const Icon = TONES[tone];
  return (
    <div class={`notice notice-${tone}`} role={tone === "danger" || tone === "caution" ? "alert" : "status"}>
      <span class="notice-icon">
        <Icon />
      </span>
      <div class="notice-body">
        <p class="notice-title">{title}</p>
        {children}
        {actions !== undefined && <div class="notice-actions">{actions}</div>}
      </div>
    </div>
  );
}

/** What went wrong and what to do, with the SDK's exact words behind a click. */
export function ProblemNotice({ problem, actions }: { readonly problem: Problem; readonly actions?: ComponentChildren }): JSX.Element {
  return (
    <Notice tone={problem.remedy === "stop" ? "danger" : "caution"} title={problem.title} actions={actions}>
      <p>{problem.text}</p>
      {problem.alarm?.evidence && <SaveLink file={problem.alarm.evidence} label={t("alarm.save")} />}
      {problem.detail !== "" && <More label={t("problem.detail")}>{<p class="mono small">{problem.detail}</p>}</More>}
    </Notice>
  );
}

/** Looks like a button, and saves a text that the page holds: a blob URL stands nowhere but in such a link (RULES 26). */
export function SaveLink({ file, label }: { readonly file: TextFile; readonly label: string }): JSX.Element {
  const url = useMemo(() => URL.createObjectURL(new Blob([file.text], { type: "application/octet-stream" })), [file]);
  useEffect(() => () => URL.revokeObjectURL(url), [url]);
  return (
    <p>
      <a class="button button-primary" href={url} download={file.name}>
        <Download />
        <span>{label}</span>
      </a>
    </p>
  );
}

export function More({ label, children, open = false }: { readonly label: string; readonly children: ComponentChildren; readonly open?: boolean }): JSX.Element {
  return (
    <details class="more" open={open}>
      <summary>{label}</summary>
      <div class="more-body">{children}</div>
    </details>
  );
}

export function Skeleton({ lines }: { readonly lines: number }): JSX.Element {
  return (
    <div class="skeleton" role="status">
      <span class="visually-hidden">{t("loading")}</span>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} class="skeleton-line" aria-hidden="true" />
      ))}
    </div>
  );
}

/** A link with a button that copies it, and on phones one that opens the share sheet. */
export function CopyLine({ value, label, title }: { readonly value: string; readonly label: string; readonly title: string }): JSX.Element {
  const [copied, setCopied] = useState<"no" | "yes" | "failed">("no");
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (copied === "no") return;
    const timer = setTimeout(() => setCopied("no"), 4000);
    return () => clearTimeout(timer);
  }, [copied]);

  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(value);
      setCopied("yes");
    } catch (error) {
      if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      box.current?.select();
      setCopied("failed");
    }
  };

  return (
    <div class="copy-line">
      <input ref={box} class="input mono" readOnly value={value} aria-label={label} onFocus={(event) => event.currentTarget.select()} />
      <div class="copy-actions">
        <Button look="primary" icon={copied === "yes" ? <Tick /> : <Copy />} onClick={() => void copy()}>
          {copied === "yes" ? t("copy.done") : t("copy")}
        </Button>
        {typeof navigator.share === "function" && (
          <Button icon={<Share />} onClick={() => void shareSheet(title, value)}>
            {t("copy.share")}
          </Button>
        )}
      </div>
      <p class="hint" role="status">
        {copied === "yes" ? t("copy.said") : copied === "failed" ? t("copy.failed") : ""}
      </p>
    </div>
  );
}

async function shareSheet(title: string, url: string): Promise<void> {
  try {
    await navigator.share({ title, url });
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // the user closed the sheet
  }
}

/** A modal dialog: the browser's own keeps the focus inside and closes with Escape. */
export function Dialog({ title, children, onClose }: { readonly title: string; readonly children: ComponentChildren; readonly onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const [shown, before] = [dialog.current, document.activeElement];
    shown?.showModal();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement) before.focus(); // a browser does so only while the dialog is still there
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <div class="dialog-head">
        <h2 id={id} tabIndex={-1} autofocus>
          {title}
        </h2>
        <IconButton label={t("close")} icon={<Cross />} onClick={onClose} />
      </div>
      {children}
    </dialog>
  );
}

/** The heading of a view, which takes the focus when the view is shown. */
export function Heading({ children, lead }: { readonly children: ComponentChildren; readonly lead?: ComponentChildren }): JSX.Element {
  return (
    <header class="heading">
      <h1 tabIndex={-1}>{children}</h1>
      {lead !== undefined && <p class="lead">{lead}</p>}
    </header>
  );
}
