/** What is typed to sign in: the address and the code that came there, or user name and password of a directory. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useCell } from "../cell.js";
import { counted, t } from "../language.js";
import { checkAddress } from "../service/checks.js";
import { connection } from "../service/connection.js";
import { PAUSE } from "../service/typing.js";
import type { CodeForm, Form, PasswordForm } from "../service/types.js";
import { Button, Field, Notice, ProblemNotice } from "./basics.js";

const DIGITS = 8;

export function TypedSignIn({ form }: { readonly form: Form }): JSX.Element {
  if (form.kind === "password") return <PasswordFields form={form} />;
  return form.email === null ? <AddressField form={form} /> : <CodeField form={form} email={form.email} />;
}

/** Enter does what the button does; the browser itself sends nothing anywhere. The first field has the focus. */
function Entry({ onEnter, children }: { readonly onEnter: () => void; readonly children: ComponentChildren }): JSX.Element {
  const entry = useRef<HTMLFormElement>(null);
  useEffect(() => entry.current?.querySelector("input")?.focus(), []);
  return (
    <form
      ref={entry}
      class="entry"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        onEnter();
      }}
    >
      {children}
    </form>
  );
}

function AddressField({ form }: { readonly form: CodeForm }): JSX.Element {
  const [email, setEmail] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const send = (): void => {
    const problem = checkAddress(email.trim());
    if (problem === null) form.send(email.trim().toLowerCase());
    else setFault(problem);
  };
  return (
    <Entry onEnter={send}>
      <p>{t("code.address.text", { sender: form.sender })}</p>
      {form.problem !== null && <ProblemNotice problem={form.problem} />}
      <Field label={t("code.address")} value={email} onInput={(value) => (setEmail(value), setFault(null))} type="email" keys="email" fill="email" error={fault} />
      <Button type="submit" look="primary">
        {t("code.send")}
      </Button>
    </Entry>
  );
}

function CodeField({ form, email }: { readonly form: CodeForm; readonly email: string }): JSX.Element {
  const [code, setCode] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const [rested, setRested] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setRested(true), PAUSE);
    return () => clearTimeout(timer);
  }, []);
  const digits = code.replaceAll(/\D/g, "");
  const enter = (): void => {
    if (digits.length === DIGITS) form.enter(digits);
    else setFault(t("code.fault"));
  };
  const spent = form.triesLeft === 0;
  return (
    <Entry onEnter={enter}>
      <p>{t("code.sent", { email, sender: form.sender })}</p>
      {form.problem !== null && <ProblemNotice problem={form.problem} />}
      {!spent && <Field label={t("code.field")} value={code} onInput={(value) => (setCode(value), setFault(null))} keys="numeric" fill="one-time-code" mono hint={counted("code.tries", form.triesLeft)} error={fault} />}
      {!spent && (
        <Button type="submit" look="primary">
          {t("sign-in")}
        </Button>
      )}
      {spent && <p role="status">{t("code.spent")}</p>}
      <p class="hint">
        {t("code.none")}{" "}
        {rested || spent ? (
          <button type="button" class="link-button inline" onClick={() => form.send(email)}>
            {t("code.again")}
          </button>
        ) : (
          t("code.wait")
        )}
      </p>
    </Entry>
  );
}

function PasswordFields({ form }: { readonly form: PasswordForm }): JSX.Element {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const enter = (): void => {
    if (user.trim() === "" || password === "") return;
    form.enter(user.trim(), password);
    setPassword("");
  };
  const { directory, authenticator } = form;
  const linked = useCell(connection);
  const isPractice = linked.state === "verified" && linked.proof.insecure;
  return (
    <Entry onEnter={enter}>
      <p>{t("password.text", { directory })}</p>
      {isPractice ? <Notice tone="caution" title={t("password.practice")} /> : <p class="hint">{t("password.who", { directory, authenticator })}</p>}
      {form.problem !== null && <ProblemNotice problem={form.problem} />}
      <Field label={t("password.user", { directory })} value={user} onInput={setUser} fill="username" maxLength={256} />
      <Field label={t("password.password")} value={password} onInput={setPassword} type="password" fill="current-password" maxLength={1024} />
      <Button type="submit" look="primary" disabled={user.trim() === "" || password === ""}>
        {t("sign-in")}
      </Button>
    </Entry>
  );
}
